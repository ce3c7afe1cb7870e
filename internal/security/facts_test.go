package security

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzServerFacts: a token's claims mean the same whichever way they are read.
func FuzzServerFacts(f *testing.F) {
	usual, err := json.Marshal(ServerClaims{
		Identity: "srv-1.example.net", Organization: "choria", Collectives: []string{"mcollective"}, Permissions: ServerPermissions{Streams: true},
		StandardClaims: StandardClaims{Purpose: PurposeServer, PublicKey: "ab", IssuerEnds: At(noon), ExpiresAt: At(noon), NotBefore: At(noon), IssuedAt: At(noon), Issuer: "I-x", Subject: "s", ID: "1", TrustChain: "c"},
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(usual), `{}`, `null`, `[]`, `{"identity":null}`, `{"Identity":"a"}`, `{"identity":"a","IDENTITY":"b"}`, `{"identity":1}`,
		`{"exp":1.5}`, `{"exp":"1"}`, `{"exp":null}`, `{"exp":-1}`, `{"purpose":"x","purpose":"choria_server"}`, `{"identity":"\u0061\ud800"}`, `{"other":1}`,
		`{"pub_subjects":1,"collectives":null}`, `{"identity":"a"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, claims []byte) {
		var got, want serverFacts
		gotErr, wantErr := got.read(claims), json.Unmarshal(claims, &want)
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("%v, want %v", gotErr, wantErr)
		}
		if gotErr == nil && !cmp.Equal(got, want) {
			t.Error(cmp.Diff(want, got))
		}
	})
}
