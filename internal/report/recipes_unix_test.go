//go:build unix

package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"fleetctl/batch"
	"fleetctl/internal/run"
)

// TestMain lets the test binary be the curl of the recipes: a machine that runs the tests need not have one.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "curl" {
		os.Exit(curl(os.Args[1:], os.Stdin, os.Stderr))
	}
	os.Exit(m.Run())
}

// curl does what the recipes want of curl, with the same exit codes, and refuses whatever else it is asked.
func curl(args []string, in io.Reader, errs io.Writer) (code int) {
	var address, header, data string
	said := map[string]bool{}
	for ; len(args) > 0; args = args[1:] {
		value := ""
		switch args[0] {
		case "--silent", "--show-error", "--fail":
		case "--config", "--max-time", "--header", "--data-binary":
			if len(args) < 2 {
				return 2
			}
			value = args[1]
		default:
			if strings.HasPrefix(args[0], "-") {
				return 2
			}
			address = args[0]
		}
		switch said[args[0]] = true; args[0] {
		case "--config":
			text, err := os.ReadFile(value)
			if err != nil {
				return 26
			}
			_, rest, _ := strings.Cut(string(text), `url = "`)
			address, _, _ = strings.Cut(rest, `"`)
		case "--header":
			header = value
		case "--data-binary":
			data = value
		}
		if value != "" {
			args = args[1:]
		}
	}
	name, value, _ := strings.Cut(header, ": ")
	if address == "" || data != "@-" || !said["--fail"] || !said["--show-error"] || !said["--max-time"] {
		return 2
	}
	body, err := io.ReadAll(in) // a request whose length is known, as curl's
	if err != nil {
		return 26
	}
	request, err := http.NewRequest(http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 3
	}
	request.Header.Set(name, value)
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return 7
	}
	defer reply.Body.Close()
	if reply.StatusCode >= http.StatusBadRequest {
		fmt.Fprintf(errs, "curl: (22) The requested URL returned error: %d\n", reply.StatusCode)
		return 22
	}
	return 0
}

// withEachCurl runs a test of a recipe with the test binary as curl, and with the machine's own where there is one.
func withEachCurl(t *testing.T, test func(t *testing.T, bin string)) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	programs := map[string]string{"stand-in": self}
	if real, err := exec.LookPath("curl"); err == nil {
		programs["real"] = real
	}
	for name, program := range programs {
		bin := t.TempDir()
		if err := os.Symlink(program, filepath.Join(bin, "curl")); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { test(t, bin) })
	}
}

// recipes are the scripts of docs/notifications.md, by their names, in a folder of their own.
func recipes(t *testing.T) (dir string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/notifications.md")
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, part := range strings.Split(string(page), "    #!/bin/sh\n")[1:] {
		var script strings.Builder
		script.WriteString("#!/bin/sh\n")
		for line := range strings.Lines(part) {
			text, inside := strings.CutPrefix(line, "    ")
			if !inside && strings.TrimSpace(line) != "" {
				break
			}
			script.WriteString(text)
		}
		_, rest, _ := strings.Cut(script.String(), "# ")
		name, _, found := strings.Cut(rest, ":")
		if !found {
			t.Fatalf("a recipe without a name:\n%s", &script)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script.String()), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// service keeps what is posted to it.
type service struct {
	*httptest.Server
	mu     sync.Mutex // guards bodies
	bodies []string
}

func newService(t *testing.T, code int) *service {
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s of %s: %v", r.Method, r.Header.Get("Content-Type"), err)
		}
		s.mu.Lock()
		s.bodies = append(s.bodies, string(body))
		s.mu.Unlock()
		w.WriteHeader(code)
	}))
	t.Cleanup(s.Close)
	return s
}

// follow has a recipe hear of a run, with the programs in bin first, and returns the warnings.
func follow(t *testing.T, name, bin string, files map[string]string, env []string, tell func(*listened)) []string {
	t.Helper()
	dir, home := recipes(t), t.TempDir()
	for file, text := range files {
		path := filepath.Join(home, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	path := strings.Join([]string{dir, bin, os.Getenv("PATH")}, ":")
	s := newListened(t, name, func(o *NotifierOptions) {
		o.Env = append([]string{"PATH=" + path, "HOME=" + home}, env...)
	})
	tell(s)
	return s.heard.warnings()
}

// awkward is a reason that JSON and a shell have to be careful with.
const awkward = `3 of "3" nodes failed: $(echo x) \n 100% of C:\fleet, ü`

func awkwardStop() batch.Record {
	return batch.Record{Kind: batch.KindStopped, Stop: &batch.Stop{Kind: batch.StopRule, Reason: awkward}}
}

func TestTheChatRecipePostsEveryEvent(t *testing.T) {
	withEachCurl(t, func(t *testing.T, bin string) {
		chat := newService(t, http.StatusOK)
		files := map[string]string{".config/fleetctl/chat.curl": `url = "` + chat.URL + `/hooks/x"`}
		if w := follow(t, "notify-chat", bin, files, nil, func(s *listened) {
			s.begin()
			s.record(awkwardStop())
			s.end(batch.Done, "")
		}); len(w) > 0 {
			t.Errorf("warnings %q", w)
		}
		if len(chat.bodies) != 3 {
			t.Fatalf("%d posts", len(chat.bodies))
		}
		for i, want := range []string{"of 3 nodes begins", "stops: " + awkward + " (run", "has ended: Done"} {
			var got map[string]string
			if err := json.Unmarshal([]byte(chat.bodies[i]), &got); err != nil || len(got) != 1 || !strings.Contains(got["text"], want) {
				t.Errorf("%v: %s", err, chat.bodies[i])
			}
		}
	})
}

func TestAChatThatRefusesIsAWarning(t *testing.T) {
	withEachCurl(t, func(t *testing.T, bin string) {
		chat := newService(t, http.StatusForbidden)
		files := map[string]string{".config/fleetctl/chat.curl": `url = "` + chat.URL + `/hooks/hidden"`}
		w := follow(t, "notify-chat", bin, files, nil, func(s *listened) { s.begin(); s.end(batch.Done, "") })
		if len(w) != 2 || !strings.Contains(w[0], "exit status 22: curl: (22)") || !strings.Contains(w[0], "403") || strings.Contains(w[0], "hidden") {
			t.Errorf("warnings %q", w)
		}
	})
}

func TestTheMailRecipeMailsWhatNeedsAPerson(t *testing.T) {
	t.Parallel()
	box, bin := t.TempDir(), t.TempDir()
	script := "#!/bin/sh\n[ \"$*\" = -t ] && cat > \"$BOX/$FLEETCTL_EVENT\"\n"
	if err := os.WriteFile(filepath.Join(bin, "sendmail"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	mails := func() (names []string) {
		entries, err := os.ReadDir(box)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	if w := follow(t, "notify-mail", bin, nil, []string{"BOX=" + box}, func(s *listened) {
		s.notifier.o.Code = func(run.Result) int { return 0 }
		s.begin()
		s.end(batch.Done, "")
	}); len(w) > 0 || len(mails()) > 0 {
		t.Errorf("a good run: %q, %q", mails(), w)
	}
	if w := follow(t, "notify-mail", bin, nil, []string{"BOX=" + box}, func(s *listened) {
		s.begin()
		s.record(batch.Record{Kind: batch.KindPaused, By: "anna"})
		s.record(batch.Record{Kind: batch.KindContinued, By: "anna"})
		s.record(awkwardStop())
		s.end(batch.Failed, "")
	}); len(w) > 0 || strings.Join(mails(), " ") != "end pause stop" {
		t.Fatalf("%q, %q", mails(), w)
	}
	mail, err := os.ReadFile(filepath.Join(box, "stop"))
	if err != nil {
		t.Fatal(err)
	}
	want := "To: oncall@example.net\nSubject: fleetctl run 20261126-100958-b723c: stop\nContent-Type: text/plain; charset=utf-8\n\n" +
		"choria_provision#restart of 3 nodes stops: " + awkward + " (run 20261126-100958-b723c)\n\nEvery node: fleetctl runs show 20261126-100958-b723c\n\n"
	if string(mail) != want {
		t.Errorf("mail\n%s\nwant\n%s", mail, want)
	}
}

// alert is what PagerDuty's Events API v2 takes.
type alert struct {
	RoutingKey  string `json:"routing_key"`
	EventAction string `json:"event_action"`
	DedupKey    string `json:"dedup_key"`
	Payload     struct {
		Summary, Source, Severity string
		CustomDetails             Notice `json:"custom_details"`
	}
}

func TestThePagerDutyRecipeOpensAndResolvesOneIncidentARun(t *testing.T) {
	withEachCurl(t, func(t *testing.T, bin string) {
		pager := newService(t, http.StatusAccepted)
		files := map[string]string{".config/fleetctl/pagerduty.key": "0123456789abcdef0123456789abcdef\n"}
		env := []string{"PAGERDUTY_URL=" + pager.URL + "/v2/enqueue"}
		for code := range 2 {
			if w := follow(t, "notify-pagerduty", bin, files, env, func(s *listened) {
				s.notifier.o.Code = func(run.Result) int { return code }
				s.begin()
				s.record(batch.Record{Kind: batch.KindPaused, By: "anna"})
				s.record(batch.Record{Kind: batch.KindContinued, By: "anna"})
				s.record(awkwardStop())
				s.end(batch.Done, "")
			}); len(w) > 0 {
				t.Errorf("warnings %q", w)
			}
		}
		var got []string
		for _, body := range pager.bodies {
			var a alert
			if err := json.Unmarshal([]byte(body), &a); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			got = append(got, a.EventAction+" "+a.Payload.Severity)
			if a.RoutingKey != "0123456789abcdef0123456789abcdef" || a.DedupKey != "fleetctl-20261126-100958-b723c" || a.Payload.Source != "fleetctl" ||
				a.Payload.Summary != a.Payload.CustomDetails.Text || a.Payload.Summary == "" || a.Payload.CustomDetails.Action != "restart" {
				t.Errorf("%s", body)
			}
		}
		want := "trigger warning, resolve info, trigger error, resolve error, trigger warning, resolve info, trigger error, trigger error"
		if strings.Join(got, ", ") != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
