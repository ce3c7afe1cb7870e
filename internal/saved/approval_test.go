package saved

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleetctl/internal/gate"
	"fleetctl/internal/security"
)

// judge is what the only approval of a file is worth for the operator up=carol, who believes our organization.
func judge(t testing.TB, f *File, a Approval, now time.Time) Judged {
	t.Helper()
	f.Approvals = []Approval{a}
	all := f.Judge(by(t, "carol", ourOrg, time.Hour), []string{"up=carol"}, now)
	if len(all) != 1 || (Count(all) == 1) != (all[0].Why == "") || all[0].Why != "" && !all[0].Ends.IsZero() {
		t.Fatalf("judged %+v", all)
	}
	return all[0]
}

func TestAnApprovalCounts(t *testing.T) {
	for _, tt := range []struct {
		name        string
		valid, life time.Duration
		ends        time.Duration
	}{
		{"ends with the plan", 3 * time.Hour, time.Hour, time.Hour},
		{"ends with the token", 30 * time.Minute, time.Hour, 30 * time.Minute},
	} {
		f := file(t, func(p *Plan) { p.Expires = p.Created.Add(tt.life) })
		bob := by(t, "bob", ourOrg, tt.valid)
		a, ends, err := f.Approve(bob, start.Add(time.Minute))
		if err != nil || !ends.Equal(start.Add(tt.ends)) || a.Caller != "up=bob" {
			t.Errorf("%s: %+v, ends %s, %v", tt.name, a, ends, err)
		}
		if got := judge(t, f, a, start.Add(2*time.Minute)); got.Why != "" || got.Caller != "up=bob" || !got.Ends.Equal(ends) {
			t.Errorf("%s: %+v", tt.name, got)
		}
		if got := judge(t, f, a, start.Add(tt.valid)); got.Why == "" || !strings.Contains(got.Why, "expired") {
			t.Errorf("%s, when the token has ended: %+v", tt.name, got)
		}
	}
}

// Each attack is an approval that must not count, and why.
func TestApprovalsThatDoNotCount(t *testing.T) {
	bob := by(t, "bob", ourOrg, time.Hour)
	other := file(t, func(p *Plan) { p.ID = "20261126-120000-other" })
	for _, tt := range []struct {
		name string
		make func(f *File) Approval
		want string
	}{
		{"copied from another plan", func(*File) Approval { return approve(t, other, bob, start) }, "signature does not fit"},
		{"its time is changed", func(f *File) Approval {
			a := approve(t, f, bob, start)
			a.Time = a.Time.Add(time.Second)
			return a
		}, "signature does not fit"},
		{"the token of another caller", func(f *File) Approval {
			a := approve(t, f, bob, start)
			a.Token = approve(t, f, by(t, "dave", ourOrg, time.Hour), start).Token
			return a
		}, "signature does not fit"},
		{"shown as of another", func(f *File) Approval {
			a := approve(t, f, bob, start)
			a.Caller = "up=ceo"
			return a
		}, "it says that it is of up=ceo, and is signed by another"},
		{"of the owner", func(f *File) Approval {
			f.Plan.Owner = "up=mallory" // so that Approve does not refuse it
			a := approve(t, f, by(t, "alice", ourOrg, time.Hour), start)
			f.Plan.Owner = "up=alice"
			return a
		}, "it is of the owner"},
		{"the owner's own signature", func(f *File) Approval { return Approval{start, "up=alice", f.Signed.Statement} }, "signature does not fit"},
		{"of the operator that applies", func(f *File) Approval { return approve(t, f, by(t, "carol", ourOrg, time.Hour), start) }, "of the operator that applies"},
		{"expired token", func(f *File) Approval { return approve(t, f, by(t, "bob", ourOrg, time.Minute), start) }, "token has expired"},
		{"another organization", func(f *File) Approval { return approve(t, f, by(t, "bob", otherOrg, time.Hour), start) }, "not issued by a trusted issuer"},
		{"dated in the future", func(f *File) Approval { return approve(t, f, bob, start.Add(30*time.Minute)) }, "dated in the future"},
		{"older than the plan", func(f *File) Approval {
			f.Plan.Created = f.Plan.Created.Add(-time.Hour)
			a := approve(t, f, bob, start.Add(-30*time.Minute))
			f.Plan.Created = f.Plan.Created.Add(time.Hour)
			return a
		}, "older than the plan"},
		{"not signed", func(f *File) Approval { return Approval{Time: start, Caller: "up=bob"} }, "not signed"},
		{"a certificate where tokens count", func(f *File) Approval {
			ca, caPEM := authority(t, "ca")
			return approve(t, f, certified(t, "bob.mcollective", ca, caPEM), start)
		}, "another version of the protocol"},
	} {
		f := file(t)
		if got := judge(t, f, tt.make(f), start.Add(10*time.Minute)); !strings.Contains(got.Why, tt.want) {
			t.Errorf("%s: %+v, want %q", tt.name, got, tt.want)
		}
	}
}

func TestApprovalsOfDifferentCallersAreCounted(t *testing.T) {
	f := file(t)
	bob, dave := by(t, "bob", ourOrg, time.Hour), by(t, "dave", ourOrg, time.Hour)
	again := by(t, "bob", ourOrg, 2*time.Hour) // another token of the same caller
	f.Approvals = []Approval{approve(t, f, bob, start), approve(t, f, bob, start), approve(t, f, again, start), approve(t, f, dave, start)}
	all := f.Judge(by(t, "carol", ourOrg, time.Hour), []string{"up=carol"}, start)
	if Count(all) != 2 || all[1].Why != "this caller has approved it already" || all[2].Why != all[1].Why || all[0].Why+all[3].Why != "" {
		t.Errorf("%+v", all)
	}
	// One that does not count must not keep a good one of the same caller from counting.
	late := f.Approvals[0]
	late.Time = start.Add(time.Hour)
	f.Approvals = []Approval{late, approve(t, f, bob, start)}
	if all := f.Judge(by(t, "carol", ourOrg, time.Hour), nil, start); Count(all) != 1 {
		t.Errorf("%+v", all)
	}
}

// Mallory saves a plan in the name of alice, and approves it as mallory: the plan is not hers, so it would count.
func TestAPlanIsOnlyApprovedWhenItsOwnerSignedIt(t *testing.T) {
	mallory := by(t, "mallory", ourOrg, time.Hour)
	for _, tt := range []struct {
		name   string
		signed func(f *File) *Signature
		want   string
	}{
		{"not signed", func(*File) *Signature { return nil }, "its owner has not signed it"},
		{"signed by mallory", func(f *File) *Signature {
			s, err := mallory.SignStatement(ownerText(f.Digest))
			if err != nil {
				t.Fatal(err)
			}
			return &Signature{s}
		}, "it is owned by up=alice, and signed by up=mallory"},
		{"signature of another plan of alice", func(*File) *Signature { return file(t, func(p *Plan) { p.Action = "ping" }).Signed }, "signature does not fit"},
		{"an approval of alice", func(f *File) *Signature {
			s, err := by(t, "alice", ourOrg, time.Hour).SignStatement(approvalText(f.Digest, start))
			if err != nil {
				t.Fatal(err)
			}
			return &Signature{s}
		}, "signature does not fit"},
		{"alice of another organization", func(f *File) *Signature {
			s, err := by(t, "alice", otherOrg, time.Hour).SignStatement(ownerText(f.Digest))
			if err != nil {
				t.Fatal(err)
			}
			return &Signature{s}
		}, "not issued by a trusted issuer"},
	} {
		f := file(t)
		f.Signed = tt.signed(f)
		if got := judge(t, f, approve(t, f, mallory, start), start); !strings.Contains(got.Why, "cannot be approved") || !strings.Contains(got.Why, tt.want) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	// The owner's token may end before the plan does.
	f := file(t)
	if got := judge(t, f, approve(t, f, by(t, "bob", ourOrg, 3*time.Hour), start), start.Add(59*time.Minute)); got.Why != "" {
		t.Errorf("%+v", got)
	}
	if _, err := f.Sign(mallory); err == nil {
		t.Error("signed as another than the owner")
	}
}

func TestApprovalsByCertificate(t *testing.T) {
	ca, caPEM := authority(t, "ca")
	other, otherPEM := authority(t, "other")
	f, err := New(example(t, func(p *Plan) { p.Owner = "choria=alice.mcollective" }))
	if err != nil {
		t.Fatal(err)
	}
	if signed, err := f.Sign(certified(t, "alice.mcollective", ca, caPEM)); err != nil || !signed {
		t.Fatal(err)
	}
	carol := certified(t, "carol.mcollective", ca, caPEM)
	for _, tt := range []struct {
		name, want string
		by         *security.Identity
	}{
		{"good", "", certified(t, "bob.mcollective", ca, caPEM)},
		{"another CA", "not issued by a trusted issuer", certified(t, "bob.mcollective", other, otherPEM)},
		{"a server of the fleet", "not that of a caller", certified(t, "web1.example.net", ca, caPEM)},
		{"the one who applies", "of the operator that applies", carol},
		{"a token", "another version of the protocol", by(t, "bob", ourOrg, time.Hour)},
	} {
		a, ends, err := f.Approve(tt.by, start)
		if err != nil || ends.After(start.Add(time.Hour)) {
			t.Fatalf("%s: ends %s, %v", tt.name, ends, err)
		}
		f.Approvals = []Approval{a}
		all := f.Judge(carol, []string{"choria=carol.mcollective"}, start)
		if (all[0].Why == "") != (tt.want == "") || !strings.Contains(all[0].Why, tt.want) {
			t.Errorf("%s: %+v", tt.name, all)
		}
		if tt.want == "" && !all[0].Ends.Equal(start.Add(30*time.Minute)) { // with the certificate
			t.Errorf("%s: ends %s", tt.name, all[0].Ends)
		}
	}
	// Of the owner, copied from another plan, and of a certificate that has ended.
	alice, bob := certified(t, "alice.mcollective", ca, caPEM), certified(t, "bob.mcollective", ca, caPEM)
	copied, err := New(example(t, func(p *Plan) { p.Owner, p.ID = "choria=alice.mcollective", "20261126-120000-other" }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := copied.Sign(alice); err != nil {
		t.Fatal(err)
	}
	at := start.Truncate(time.Second)
	own, err := alice.SignStatement(approvalText(f.Digest, at))
	if err != nil {
		t.Fatal(err)
	}
	f.Approvals = []Approval{{at, "choria=alice.mcollective", own}, approve(t, copied, bob, start)}
	all := f.Judge(carol, []string{"choria=carol.mcollective"}, start)
	if len(all) != 2 || !strings.Contains(all[0].Why, "it is of the owner") || !strings.Contains(all[1].Why, "signature does not fit") {
		t.Errorf("of the owner, and copied: %+v", all)
	}
	f.Approvals = []Approval{approve(t, f, bob, start)}
	if all := f.Judge(carol, []string{"choria=carol.mcollective"}, start.Add(31*time.Minute)); len(all) != 1 || !strings.Contains(all[0].Why, "expired") {
		t.Errorf("after the end of the certificate: %+v", all)
	}
}

func TestWhenAPlanMayBeUsed(t *testing.T) {
	f := file(t)
	bob := by(t, "bob", ourOrg, 3*time.Hour)
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{{-2 * time.Minute, "in the future"}, {-30 * time.Second, ""}, {0, ""}, {time.Hour - time.Second, ""}, {time.Hour, "expired at"}} {
		err := f.Current(start.Add(tt.after))
		_, _, same := f.Approve(bob, start.Add(tt.after))
		if (err == nil) != (tt.want == "") || err != nil && (!strings.Contains(err.Error(), tt.want) || same == nil || same.Error() != err.Error()) {
			t.Errorf("after %s: %v, to approve %v", tt.after, err, same)
		}
		if _, ok := errors.AsType[*RefusedError](err); err != nil && !ok {
			t.Errorf("the error is %T", err)
		}
	}
	if _, _, err := f.Approve(by(t, "alice", ourOrg, time.Hour), start); err == nil || !strings.Contains(err.Error(), "up=alice made this plan") {
		t.Errorf("the owner: %v", err)
	}
	unsigned, err := security.Open(security.Options{Provider: "file", Identity: "ops", User: "bob", Insecure: true}, start)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.Approve(unsigned, start); err == nil || !strings.Contains(err.Error(), "no key of ours") {
		t.Errorf("without a key: %v", err)
	}
	if signed, err := f.Sign(unsigned); signed || err != nil {
		t.Errorf("signed %t, %v", signed, err)
	}
}

// To apply a plan is to run its commands: those of a stranger need a signature.
func TestGatesOfAStranger(t *testing.T) {
	carol := by(t, "carol", ourOrg, time.Hour)
	for _, tt := range []struct {
		name     string
		edit     func(f *File)
		appliers []string
		keyless  bool
		ok       bool
	}{
		{"signed by its owner", func(*File) {}, []string{"up=carol"}, false, true},
		{"not signed", func(f *File) { f.Signed = nil }, []string{"up=carol"}, false, false},
		{"not signed, in our name", func(f *File) { f.Signed = nil }, []string{"up=alice"}, false, false},
		{"not signed, and we have no key", func(f *File) { f.Signed = nil }, []string{"up=alice"}, true, true},
		{"not signed, of another, and we have no key", func(f *File) { f.Signed = nil }, []string{"up=carol"}, true, false},
		{"no command", func(f *File) { f.Signed, f.Plan.Gates = nil, []Gate{{PromQL: "up"}} }, []string{"up=carol"}, false, true},
	} {
		f := file(t)
		tt.edit(f)
		if err := f.Runnable(carol, tt.appliers, tt.keyless); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// A gate's script is pinned by its content: one that was changed after the approval is found out.
func TestAGateScriptThatChangedSince(t *testing.T) {
	script := filepath.Join(t.TempDir(), "check.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	was, err := gate.Places{}.Scripts(script)
	if err != nil {
		t.Fatal(err)
	}
	f, path := file(t, func(p *Plan) { p.Gates = []Gate{{Command: script, Scripts: was}} }), at(t)
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Unchanged(gate.Places{}); err == nil || !strings.Contains(err.Error(), "has changed since the plan was saved") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := got.Unchanged(gate.Places{}); err != nil {
		t.Errorf("as it was: %v", err)
	}
}
