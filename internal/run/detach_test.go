package run

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fleetctl/batch"
	"fleetctl/internal/saved"
)

// fill gives every exported field below v a value that is not its zero value. Texts with a form of their own get what they
// can read.
func fill(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	if a, ok := v.Addr().Interface().(*batch.Amount); ok {
		*a = batch.Number(7)
		return
	}
	if at, ok := v.Addr().Interface().(*time.Time); ok {
		*at = time.Unix(7, 0).UTC()
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Type != reflect.TypeFor[*saved.File]() { // a plan is a JSON file anyway
				fill(t, v.Field(i), path+"."+f.Name)
			}
		}
	case reflect.String:
		v.SetString(path)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(7)
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			v.SetBytes([]byte(`{"a":1}`))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0), path+"[0]")
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fill(t, value, path+"[key]")
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), value)
	default:
		t.Fatalf("%s is a %s: this test cannot fill it", path, v.Kind())
	}
}

// Nothing of a run is lost between the processes.
func TestAHandoverSurvivesJSON(t *testing.T) {
	var h Handover
	fill(t, reflect.ValueOf(&h).Elem(), "h")
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var got Handover
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	got.Request.Proof.Timeout, got.Request.Proof.Settle = got.Timeout, got.Settle // Drive puts them there
	h.Request.Proof.Timeout, h.Request.Proof.Settle = h.Timeout, h.Settle
	h.Plan.CapRounds = 0 // for estimates, which the first process has made
	if d := cmp.Diff(h, got, cmp.AllowUnexported(Request{})); d != "" {
		t.Errorf("-handed over +arrived:\n%s", d)
	}
}

// The process that drives the run sends exactly what was planned and asked about in the first one, under the id that the
// first one named, with the secret, and asks nothing.
func TestWhatIsHandedOverIsDriven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3")
		w.asker.away, w.asker.answers = nil, []string{"y"}
		r := restart()
		r.Detach, r.Policy.Sizes, r.Inputs["splay"] = true, batch.Sizes{batch.Number(2)}, "1"
		r.Rules.MaxFailed, r.Proof.Timeout = batch.Number(2), Wait{30 * time.Second, true}
		var h Handover
		c := w.context()
		c.Detach = func(_ context.Context, given Handover) error { h = given; return nil }
		if _, err := Start(t.Context(), c, r); err != nil {
			t.Fatal(err)
		}
		if len(w.asker.asked) != 1 || len(w.sent()) > 0 || len(contents(t, w.dir)) > 0 {
			t.Fatalf("the first process asked %q, sent %q, and left %q", w.asker.asked, w.sent(), contents(t, w.dir))
		}
		w.finds = append(w.finds, "n4") // a node that comes meanwhile is not part of it
		ready := 0
		d := w.context()
		d.Asker, d.Ready = &fakeAsker{away: errors.New("no terminal")}, func() error {
			ready++
			if len(contents(t, w.dir)) > 0 {
				t.Error("there is a record before the word to begin")
			}
			return nil
		}
		res, err := Drive(t.Context(), d, h)
		if err != nil || res.ID != h.ID || res.Summary.Verdict != batch.Done || ready != 1 {
			t.Fatalf("%v, run %s of %s, %s, ready %d times", err, res.ID, h.ID, res.Summary.Verdict, ready)
		}
		sent := w.sent()
		slices.Sort(sent)
		if len(sent) != 3 || strings.Contains(strings.Join(sent, " "), "n4") || !strings.Contains(sent[0], "s3cret") || !strings.Contains(sent[0], `"splay":1`) {
			t.Errorf("nodes got %q", sent)
		}
		s := w.last()
		if len(s.Progress.Plan().Batches) != 2 || s.Progress.Rules().MaxFailed != batch.Number(2) || s.Meta.Timeout != 30*time.Second || s.Progress.Summary().Resumes != 0 {
			t.Errorf("the record has %+v, %+v, %+v", s.Progress.Plan(), s.Progress.Rules(), s.Meta)
		}
		for _, text := range contents(t, w.dir) {
			if strings.Contains(text, "s3cret") {
				t.Error("the secret is in the record")
			}
		}
	})
}

// The first process may be gone by the time the second one is ready: then nothing is sent and nothing is left.
func TestARunThatMayNotBeginLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2")
		h, err := handOverAll(t.Context(), w.context(), restart())
		if err != nil {
			t.Fatal(err)
		}
		c, gone := w.context(), errors.New("gone")
		c.Ready = func() error { return gone }
		if _, err := Drive(t.Context(), c, h); !errors.Is(err, gone) || len(w.sent()) > 0 || len(contents(t, w.dir)) > 0 {
			t.Errorf("%v; sent %q, left %q", err, w.sent(), contents(t, w.dir))
		}
	})
}

// A retry that is handed over is refused when its parent was resumed meanwhile.
func TestAHandedRetryLooksAtItsParentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3", "n4")
		first := slowly(restart())
		first.Guards.Yes = true
		s := interruptedOf(t, w, first)
		again := func() Request {
			r, err := Request{Inputs: map[string]string{"token": "s3cret"}, Detach: true}.Reopen(w.last())
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		var h Handover
		c := w.context()
		c.Detach = func(_ context.Context, given Handover) error { h = given; return nil }
		if _, err := Retry(t.Context(), c, again(), s, []batch.State{batch.NotSent}); err != nil {
			t.Fatal(err)
		}
		if h.Parent != s.ID || h.ParentSize == 0 || !h.Stored {
			t.Fatalf("handed over: parent %q of %d bytes, stored %t", h.Parent, h.ParentSize, h.Stored)
		}
		r, err := Request{Inputs: map[string]string{"token": "s3cret"}}.Reopen(w.last())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Resume(t.Context(), w.context(), r, s); err != nil {
			t.Fatal(err)
		}
		sent := len(w.sent())
		if _, err := Drive(t.Context(), w.context(), h); err == nil || !strings.Contains(err.Error(), "another process has resumed it meanwhile") || len(w.sent()) != sent {
			t.Errorf("%v; %d requests more", err, len(w.sent())-sent)
		}
	})
}

// --gate none of a resume holds in the process that drives it, too.
func TestAHandedResumeLeavesTheGatesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "n1", "n2", "n3", "n4")
		w.hears = quiet{}
		first := slowly(restart())
		first.Guards.Yes, first.Gates.Collateral = true, Count{3, true}
		s := interruptedOf(t, w, first)
		if s.Progress.Gates().IsZero() {
			t.Fatal("the run has no gates")
		}
		c, r := w.again(t, Request{Detach: true, Gates: Gates{Commands: []string{noGates}}}, s)
		var text []byte
		c.Detach = func(_ context.Context, given Handover) (err error) {
			text, err = json.Marshal(given)
			return err
		}
		if _, err := Resume(t.Context(), c, r, s); err != nil {
			t.Fatal(err)
		}
		var h Handover
		if err := json.Unmarshal(text, &h); err != nil {
			t.Fatal(err)
		}
		res, err := Drive(t.Context(), w.context(), h)
		if err != nil || res.Summary.Verdict != batch.Done {
			t.Fatalf("%s, %v", res.Summary.Verdict, err)
		}
		if g := w.last().Progress.Gates(); !g.IsZero() {
			t.Errorf("the resume has gates: %+v", g)
		}
	})
}
