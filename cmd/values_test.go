package cmd

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestDurationsAreSecondsUnlessTheySayOtherwise(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		bad  bool
	}{
		{text: "30", want: 30 * time.Second}, {text: "0", want: 0}, {text: "1.5", want: 1500 * time.Millisecond},
		{text: "30s", want: 30 * time.Second}, {text: "5m", want: 5 * time.Minute}, {text: "250ms", want: 250 * time.Millisecond},
		{text: "", bad: true}, {text: "-1", bad: true}, {text: "-5s", bad: true}, {text: "soon", bad: true}, {text: "5 m", bad: true},
		{text: "NaN", bad: true}, {text: "Inf", bad: true}, {text: "1e300", bad: true},
	}
	for _, tt := range tests {
		var s seconds
		err := s.Set(tt.text)
		if (err != nil) != tt.bad || !tt.bad && (s.d != tt.want || !s.set) {
			t.Errorf("%q: got %v, %v, want %v", tt.text, s.d, err, tt.want)
		}
	}
}

func TestArgumentsSplitAtTheFirstSign(t *testing.T) {
	var o reqOptions
	if err := o.arguments([]string{"a", "b", "x=1", "y:2", "z=a=b:c", "e="}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"x": "1", "y": "2", "z": "a=b:c", "e": ""}
	if len(o.inputs) != len(want) {
		t.Errorf("got %v", o.inputs)
	}
	for k, v := range want {
		if o.inputs[k] != v {
			t.Errorf("%s: got %q, want %q", k, o.inputs[k], v)
		}
	}
	for _, args := range [][]string{{}, {"a"}, {"a", "b", "c"}, {"a", "b", "=c"}, {"a", "b", "x=1", "x=2"}} {
		if err := new(reqOptions).arguments(args); exitOf(err) != exitUsage {
			t.Errorf("%q: got %v, want wrong usage", args, err)
		}
	}
}

func TestAnInputThatIsNotKeyValueIsNotQuoted(t *testing.T) {
	err := new(reqOptions).arguments([]string{"choria_provision", "restart", "s3cret-without-a-key"})
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v: a token typed without its key must not be shown", err)
	}
}

func exitOf(err error) int {
	code, _, _ := classify(context.Background(), err)
	return code
}
