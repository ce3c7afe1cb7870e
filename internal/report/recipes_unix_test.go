//go:build unix

package report

import (
	"encoding/json"
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

// recipes are the scripts of docs/notifications.md, by their names, in a folder of their own.
func recipes(t *testing.T) (dir string) {
	t.Helper()
	for _, program := range []string{"curl", "jq"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("the recipes of docs/notifications.md need %s: install it to test them", program)
		}
	}
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

// follow tells a recipe of a run, and returns the warnings.
func follow(t *testing.T, name string, files map[string]string, env []string, tell func(*listened)) []string {
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
	path := strings.Join([]string{dir, filepath.Join(home, "bin"), os.Getenv("PATH")}, ":")
	acks := filepath.Join(home, "acks")
	if err := exec.Command("mkfifo", acks).Run(); err != nil {
		t.Fatal(err)
	}
	s := newListened(t, name+`; code=$?; printf x > "$HOME/acks"; exit $code`, func(o *NotifierOptions) {
		o.Env = append([]string{"PATH=" + path, "HOME=" + home}, env...)
	})
	var err error
	if s.acks, err = os.OpenFile(acks, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	defer s.acks.Close()
	tell(s)
	return s.heard.warnings()
}

func TestTheChatRecipePostsEveryEvent(t *testing.T) {
	t.Parallel()
	chat := newService(t, http.StatusOK)
	files := map[string]string{".config/fleetctl/chat.curl": `url = "` + chat.URL + `/hooks/x"`}
	if w := follow(t, "notify-chat", files, nil, func(s *listened) { s.begin(); s.end(batch.Done, "") }); len(w) > 0 {
		t.Errorf("warnings %q", w)
	}
	if len(chat.bodies) != 2 {
		t.Fatalf("%d posts", len(chat.bodies))
	}
	for i, want := range []string{"of 3 nodes begins", "has ended: Done"} {
		var got map[string]string
		if err := json.Unmarshal([]byte(chat.bodies[i]), &got); err != nil || len(got) != 1 || !strings.Contains(got["text"], want) {
			t.Errorf("%v: %s", err, chat.bodies[i])
		}
	}
}

func TestAChatThatRefusesIsAWarning(t *testing.T) {
	t.Parallel()
	chat := newService(t, http.StatusForbidden)
	files := map[string]string{".config/fleetctl/chat.curl": `url = "` + chat.URL + `/hooks/hidden"`}
	w := follow(t, "notify-chat", files, nil, func(s *listened) { s.begin(); s.end(batch.Done, "") })
	if len(w) != 2 || !strings.Contains(w[0], "403") || strings.Contains(w[0], "hidden") {
		t.Errorf("warnings %q", w)
	}
}

func TestTheMailRecipeMailsWhatNeedsAPerson(t *testing.T) {
	t.Parallel()
	box := t.TempDir()
	files := map[string]string{"bin/sendmail": "#!/bin/sh\n[ \"$*\" = -t ] && cat > \"$BOX/$FLEETCTL_EVENT\"\n"}
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
	good := func(s *listened) {
		s.notifier.o.Code = func(run.Result) int { return 0 }
		s.begin()
		s.end(batch.Done, "")
	}
	if w := follow(t, "notify-mail", files, []string{"BOX=" + box}, good); len(w) > 0 || len(mails()) > 0 {
		t.Errorf("a good run: %q, %q", mails(), w)
	}
	bad := func(s *listened) {
		s.begin()
		s.record(batch.Record{Kind: batch.KindPaused, By: "anna"})
		s.record(batch.Record{Kind: batch.KindContinued, By: "anna"})
		s.end(batch.Failed, "")
	}
	if w := follow(t, "notify-mail", files, []string{"BOX=" + box}, bad); len(w) > 0 || strings.Join(mails(), " ") != "end pause" {
		t.Fatalf("%q, %q", mails(), w)
	}
	mail, err := os.ReadFile(filepath.Join(box, "end"))
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(mail), "\n\n")
	if !strings.HasPrefix(head, "To: oncall@example.net\nSubject: fleetctl run 20261126-100958-b723c: end\n") {
		t.Errorf("head\n%s", head)
	}
	for _, want := range []string{"has ended: Failed", "Caller: choria=rip.mcollective\nplanned: 3\n", "fleetctl runs show 20261126-100958-b723c"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
}

// alert is what PagerDuty's Events API v2 takes.
type alert struct {
	RoutingKey  string `json:"routing_key"`
	EventAction string `json:"event_action"`
	DedupKey    string `json:"dedup_key"`
	Payload     struct {
		Summary, Source, Severity, Timestamp, Component string
		CustomDetails                                   Notice `json:"custom_details"`
	}
}

func TestThePagerDutyRecipeOpensAndResolvesOneIncidentARun(t *testing.T) {
	t.Parallel()
	pager := newService(t, http.StatusAccepted)
	files := map[string]string{".config/fleetctl/pagerduty.key": "0123456789abcdef0123456789abcdef\n"}
	env := []string{"PAGERDUTY_URL=" + pager.URL + "/v2/enqueue"}
	if w := follow(t, "notify-pagerduty", files, env, func(s *listened) {
		s.notifier.o.Code = func(r run.Result) int { return int(r.Summary.Verdict - batch.Done) }
		s.begin()
		s.record(batch.Record{Kind: batch.KindPaused, By: "anna"})
		s.record(batch.Record{Kind: batch.KindContinued, By: "anna"})
		s.record(batch.Record{Kind: batch.KindStopped, Stop: &batch.Stop{Kind: batch.StopRule, Reason: "3 of 3 nodes failed"}})
		s.end(batch.Done, "")
	}); len(w) > 0 {
		t.Errorf("warnings %q", w)
	}
	var got []string
	for _, body := range pager.bodies {
		var a alert
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		got = append(got, a.EventAction+" "+a.Payload.Severity)
		if a.RoutingKey != "0123456789abcdef0123456789abcdef" || a.DedupKey != "fleetctl-20261126-100958-b723c" || a.Payload.Source != "fleetctl" ||
			a.Payload.Summary != a.Payload.CustomDetails.Text || a.Payload.Timestamp == "" || a.Payload.Component != "choria_provision#restart" {
			t.Errorf("%s", body)
		}
	}
	if want := "trigger warning, resolve error, trigger error, resolve error"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
