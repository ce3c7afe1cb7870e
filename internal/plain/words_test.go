package plain

import "testing"

func TestACommandIsWrittenAsItIsTyped(t *testing.T) {
	for want, words := range map[string][]string{
		"":                        nil,
		"req rpcutil ping -F a=b": {"req", "rpcutil", "ping", "-F", "a=b"},
		"restart token=[redacted] --gate 'ping -F role=web'":    {"restart", "token=[redacted]", "--gate", "ping -F role=web"},
		`-S 'fact("a") == '\''b'\'''`:                           {"-S", `fact("a") == 'b'`},
		"--user '' 'a[1-2]' '[redacted]x' -I /web./ 'rack!=r1'": {"--user", "", "a[1-2]", "[redacted]x", "-I", "/web./", "rack!=r1"},
	} {
		if got := Words(words); got != want {
			t.Errorf("%q: got %s, want %s", words, got, want)
		}
	}
}
