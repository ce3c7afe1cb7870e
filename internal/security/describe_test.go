package security

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func kinds(all []Credential) (names, faults []string) {
	for _, c := range all {
		names = append(names, c.Kind)
		if c.Fault != nil {
			faults = append(faults, c.Kind)
		}
	}
	return names, faults
}

func TestDescribeReadsCertificates(t *testing.T) {
	f := newFolder(t)
	o := f.fileOptions(newAuthority(t, "Test CA", noon), noon)
	all := Describe(o, noon)
	names, faults := kinds(all)
	if want := []string{whatCertificate, whatKey, whatCA}; !slices.Equal(names, want) || len(faults) > 0 {
		t.Fatalf("got %v with faults in %v, want %v", names, faults, want)
	}
	if c := all[0]; !slices.Equal(c.Names, []string{"bob.mcollective"}) || c.Issuer != "Test CA" || !c.NotAfter.Equal(noon.AddDate(0, 1, 0)) {
		t.Errorf("certificate: %+v", c)
	}
}

func TestDescribeReadsTokens(t *testing.T) {
	o := newFolder(t).choriaOptions(noon)
	all := Describe(o, noon)
	names, faults := kinds(all)
	if want := []string{whatToken, "seed file"}; !slices.Equal(names, want) || len(faults) > 0 {
		t.Fatalf("got %v with faults in %v, want %v", names, faults, want)
	}
	if c := all[0]; !slices.Equal(c.Names, []string{"up=bob"}) || !slices.Equal(c.Permissions, []string{"fleet_management"}) ||
		c.Organization != defaultOrganization || !c.NotAfter.Equal(noon.Add(24*time.Hour)) {
		t.Errorf("token: %+v", c)
	}
}

func TestDescribeContinuesAfterAFault(t *testing.T) {
	f := newFolder(t)
	later := noon.AddDate(2, 0, 0)
	o := f.fileOptions(newAuthority(t, "Test CA", noon), noon)
	o.Key = f.path("missing.key")
	o.TokenFile = f.write("token.jwt", mustClient(t, clientClaims(noon), orgKey))
	all := Describe(o, later)
	_, faults := kinds(all)
	if want := []string{whatCertificate, whatKey, whatCA, whatToken}; !slices.Equal(faults, want) {
		t.Fatalf("faults in %v, want %v", faults, want)
	}
	for _, c := range all {
		if c.Kind != whatKey && !strings.Contains(c.Fault.Error(), "expired") && !strings.Contains(c.Fault.Error(), "ended") {
			t.Errorf("%s: %v", c.Kind, c.Fault)
		}
		if !strings.Contains(c.Fault.Error(), c.Path) {
			t.Errorf("%s: %v does not name the file", c.Kind, c.Fault)
		}
	}
}

func TestDescribeFindsPuppetsFiles(t *testing.T) {
	f := newFolder(t)
	ca := newAuthority(t, "Puppet CA", noon)
	f.write("certs/bob.mcollective.pem", ca.issue(t, "bob.mcollective", rsaKeyA().Public(), noon))
	f.write("certs/ca.pem", ca.pem)
	f.write("private_keys/bob.mcollective.pem", pkcs1(rsaKeyA()))
	names, faults := kinds(Describe(Options{User: "bob", SSLDir: f.dir}, noon))
	if len(names) != 3 || len(faults) > 0 {
		t.Errorf("got %v, faults in %v", names, faults)
	}
	if all := Describe(Options{SSLDir: f.dir}, noon); len(all) > 0 {
		t.Errorf("without a name: %+v", all)
	}
}
