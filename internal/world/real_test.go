package world

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fleetctl/internal/journal"
	"fleetctl/internal/security"
)

// Real signatures and real files, in some of the seeds.

// keyOf is a key of a case, by a name.
func keyOf(seed uint64, name string) ed25519.PrivateKey {
	digest := sha256.Sum256(fmt.Appendf(nil, "world %d %s", seed, name))
	return ed25519.NewKeyFromSeed(digest[:])
}

func publicOf(k ed25519.PrivateKey) string { return hex.EncodeToString(k.Public().(ed25519.PublicKey)) }

// signatory is an operator with a seed and a token of an organization.
func signatory(t *testing.T, seed uint64, name string) *security.Identity {
	issuer, operator := keyOf(seed, "issuer"), keyOf(seed, name)
	claims := security.ClientClaims{CallerID: "choria=" + name, Agents: []string{"*"}, Permissions: security.ClientPermissions{FleetManagement: true, EventsViewer: true}}
	claims.PublicKey, claims.IssuedAt, claims.ExpiresAt = publicOf(operator), security.At(time.Now().Add(-time.Minute)), security.At(time.Now().Add(1000*time.Hour))
	token, err := security.IssueClient(claims, issuer)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"operator.jwt": token, "operator.seed": hex.EncodeToString(operator.Seed())} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	id, err := security.Open(security.Options{
		Provider: "choria", Identity: "client.example.net", DisableTLS: true, Issuers: map[string]string{"choria": publicOf(issuer)},
		TokenFile: filepath.Join(dir, "operator.jwt"), SeedFile: filepath.Join(dir, "operator.seed"),
	}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// realIdentity is an operator of an organization, whose servers sign their replies.
func realIdentity(t *testing.T, s *spec) (identity, func(n *node, reply []byte) ([]byte, string)) {
	id, issuer := signatory(t, s.seed, "operator"), keyOf(s.seed, "issuer")
	signers := map[string]security.ReplySigner{}
	return id, func(n *node, reply []byte) ([]byte, string) {
		signer, ok := signers[n.name]
		if !ok {
			server := security.ServerClaims{Identity: n.name, Collectives: []string{collective}}
			server.PublicKey, server.ExpiresAt = publicOf(keyOf(s.seed, n.name)), security.At(time.Now().Add(1000*time.Hour))
			if n.traits.tokenEnds > 0 {
				server.ExpiresAt = security.At(n.w.begin.Add(n.traits.tokenEnds))
			}
			text, err := security.IssueServer(server, issuer)
			if err != nil {
				panic(err)
			}
			signer = security.NewReplySigner(text, keyOf(s.seed, n.name))
			signers[n.name] = signer
		}
		return signer.Sign(reply)
	}
}

// files are the real journals of a case: one folder, a file a run.
type files struct {
	t   *testing.T
	dir string
}

// realJournal is a run's file while a process holds it; between two processes of the run, none does.
type realJournal struct {
	f    *files
	id   string
	held *journal.Journal
}

func realFile(t *testing.T) func(id string) disk {
	f := &files{t: t, dir: t.TempDir()}
	return func(id string) disk { return &realJournal{f: f, id: id} }
}

// take opens the file for a process, as a new run or as a resume.
func (j *realJournal) take() {
	var err error
	if j.held, err = journal.ThisMachine().Open(j.f.dir, j.id); err != nil {
		j.held, err = journal.ThisMachine().Create(j.f.dir, j.id)
	}
	if err != nil {
		panic(err)
	}
}

// drop is the end of the process. A killed one may leave a torn line.
func (j *realJournal) drop(torn bool) {
	if j.held == nil {
		return
	}
	if err := j.held.Close(); err != nil {
		panic(err)
	}
	j.held = nil
	if torn {
		path := filepath.Join(j.f.dir, j.id+".journal")
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			panic(err)
		}
		if _, err := f.WriteString(`{"sum":"0badc0de","rec":{"v":1,"k":"out`); err != nil {
			panic(err)
		}
		if err := f.Close(); err != nil {
			panic(err)
		}
	}
}

func (j *realJournal) Append(lines ...[]byte) error {
	if j.held == nil {
		return errDead
	}
	return j.held.Append(lines...)
}

// Lines reads the file without taking it, as `runs show` does.
func (j *realJournal) Lines() iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		c, err := journal.ThisMachine().Read(j.f.dir, j.id)
		if err != nil {
			yield(nil, err)
			return
		}
		defer c.Close()
		for line, err := range c.Lines() {
			if !yield(line, err) {
				return
			}
		}
	}
}
