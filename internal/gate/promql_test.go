package gate

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fleetctl/batch"
	"fleetctl/internal/secret"
)

// vector is the answer to an instant query with these values.
func vector(values ...string) string {
	var series []string
	for i, v := range values {
		series = append(series, fmt.Sprintf(`{"metric":{"job":"%d"},"value":[1435781451.781,"%s"]}`, i, v))
	}
	return result("vector", "["+strings.Join(series, ",")+"]")
}

func result(kind, value string) string {
	return fmt.Sprintf(`{"status":"success","data":{"resultType":%q,"result":%s}}`, kind, value)
}

func TestWhatAQueryMayGive(t *testing.T) {
	const bad = "not that of a Prometheus server"
	for _, tt := range []struct {
		status  int
		body    string
		verdict batch.GateVerdict
		value   string
		reason  string
	}{
		{200, vector("1"), batch.GatePassed, "1", "it is 1"},
		{200, vector("0.25"), batch.GatePassed, "0.25", "it is 0.25"},
		{200, vector("-3"), batch.GatePassed, "-3", "it is -3"},
		{200, vector("0"), batch.GateFailed, "0", "it is 0"},
		{200, vector("-0"), batch.GateFailed, "-0", "it is -0"},
		{200, result("scalar", `[1.5,"7e3"]`), batch.GatePassed, "7000", "it is 7000"},
		{200, result("scalar", `[1.5,"0"]`), batch.GateFailed, "0", "it is 0"},
		{200, vector(), batch.GateInconclusive, "", "no series: it is empty"},
		{200, vector("1", "1"), batch.GateInconclusive, "", "2 series, and exactly one is wanted"},
		{200, vector("NaN"), batch.GateInconclusive, "", "NaN"},
		{200, vector("+Inf"), batch.GateInconclusive, "", "infinite"},
		{200, vector("one"), batch.GateInconclusive, "", "no number"},
		{200, vector(""), batch.GateInconclusive, "", "no number"},
		{200, result("vector", `[{"metric":{},"value":[1,1]}]`), batch.GateInconclusive, "", bad},
		{200, result("vector", `[{"metric":{},"value":["1"]}]`), batch.GateInconclusive, "", bad},
		{200, result("vector", `[{"metric":{},"value":[1,"1","0"]}]`), batch.GateInconclusive, "", bad},
		{200, result("vector", `[{"metric":{}}]`), batch.GateInconclusive, "", bad},
		{200, result("vector", `{"metric":{}}`), batch.GateInconclusive, "", bad},
		{200, result("vector", `[{"metric":{},"histogram":[1,{"count":"1"}]}]`), batch.GateInconclusive, "", "a histogram"},
		{200, result("matrix", `[]`), batch.GateInconclusive, "", `type "matrix"`},
		{200, result("string", `[1,"1"]`), batch.GateInconclusive, "", `type "string"`},
		{200, strings.Replace(vector("1"), `"status"`, `"warnings":["a store is away"],"status"`, 1), batch.GateInconclusive, "", "the server says: warning: a store is away"},
		{200, strings.Replace(vector("1"), `"status"`, `"infos":["might be no counter"],"status"`, 1), batch.GatePassed, "1", "it is 1"},
		{200, strings.Replace(vector("1"), `"success"`, `"error"`, 1), batch.GateInconclusive, "", "the server says: an error"},
		{200, strings.Replace(vector("1"), `"success"`, `"well"`, 1), batch.GateInconclusive, "", bad},
		{200, vector("1") + "{}", batch.GateInconclusive, "", bad},
		{200, "", batch.GateInconclusive, "", bad},
		{200, "null", batch.GateInconclusive, "", bad},
		{200, `{"status":"success"}`, batch.GateInconclusive, "", bad},
		{200, "<html>", batch.GateInconclusive, "", bad},
		{200, strings.Repeat(" ", maxAnswer+1), batch.GateInconclusive, "", "longer than"},
		{400, `{"status":"error","errorType":"bad_data","error":"parse error: \u001b[2J"}`, batch.GateInconclusive, "", `the server says: parse error: \x1b[2J`},
		{422, `{"status":"error","errorType":"execution"}`, batch.GateInconclusive, "", "the server says: execution"},
		{500, "oops", batch.GateInconclusive, "", "the server answered 500 Internal Server Error"},
		{503, vector("1"), batch.GateInconclusive, "", "the server answered 503"}, // its number does not count
		{401, `{"status":"error","error":"token hunter2-hunter2 is wrong"}`, batch.GateInconclusive, "", "token [redacted] is wrong"},
		{204, "", batch.GateInconclusive, "", "204"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/prom/api/v1/query" || r.FormValue("query") != `sum(up{job="x"})` || r.FormValue("timeout") != "60s" || r.Header.Get("Authorization") != "" {
				t.Errorf("asked %s, %v", r.URL, r.Header)
			}
			w.WriteHeader(tt.status)
			_, _ = w.Write([]byte(tt.body))
		}))
		q := query(t, ServerOptions{URL: server.URL + "/prom/"})
		q.Expr = `sum(up{job="x"})`
		look, err := q.Look(t.Context(), moment)
		if err != nil || look.Verdict != tt.verdict || look.Value != tt.value || !strings.Contains(look.Reason, tt.reason) || look.Gate != q.Expr || look.Took <= 0 {
			t.Errorf("%d %.200s: %+v, %v", tt.status, tt.body, look, err)
		}
		server.Close()
	}
}

func query(t *testing.T, o ServerOptions) PromQL {
	t.Helper()
	server, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	var scrub secret.Scrubber
	scrub.Add(secret.New("hunter2-hunter2"))
	return PromQL{Expr: "up", Server: server, Timeout: time.Minute, Scrub: scrub.Text}
}

// A comparison without bool gives the number on its left, which may be 0, or no series: the reason says what to write.
func TestAComparisonWithoutBoolGetsAHint(t *testing.T) {
	for expr, want := range map[string]bool{
		"errors < 0.01": true, "up == 1": true, "a != b": true, "errors < bool 0.01": false, "a>=bool 3": false, "sum(up)": false, `up{job!="x",a="<"}`: false, `up{job!="x"} > 3`: true,
		`label_replace(up, "a", "<", "b", "c")`: false,
	} {
		if got := (PromQL{Expr: expr}).Hint(); (got != "") != want {
			t.Errorf("%s: %q", expr, got)
		}
	}
	for body, verdict := range map[string]batch.GateVerdict{vector(): batch.GateInconclusive, vector("0"): batch.GateFailed, vector("0.001"): batch.GatePassed} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		q := query(t, ServerOptions{URL: server.URL})
		q.Expr = "errors < 0.01"
		look, err := q.Look(t.Context(), moment)
		if err != nil || look.Verdict != verdict || strings.Contains(look.Reason, "bool") != (verdict != batch.GatePassed) {
			t.Errorf("%s: %+v, %v", body, look, err)
		}
		server.Close()
	}
}

func TestAServerThatDoesNotAnswer(t *testing.T) {
	over := errors.New("the run is over")
	hang := make(chan struct{})
	asked := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-hang }))
	defer server.Close()
	defer close(hang)
	q := query(t, ServerOptions{URL: server.URL})
	q.Timeout = 50 * time.Millisecond
	if look, err := q.Look(t.Context(), moment); err != nil || look.Verdict != batch.GateInconclusive || look.Reason != "no answer within 50ms" {
		t.Errorf("slow: %+v, %v", look, err)
	}
	<-asked
	q.Timeout = time.Hour
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() { <-asked; cancel(over) }()
	if _, err := q.Look(ctx, moment); !errors.Is(err, over) {
		t.Errorf("the run ends: %v", err)
	}
	moved := httptest.NewServer(http.RedirectHandler(server.URL, http.StatusFound))
	defer moved.Close()
	if look, err := query(t, ServerOptions{URL: moved.URL}).Look(t.Context(), moment); err != nil || look.Verdict != batch.GateInconclusive || look.Reason != "the server answered 302 Found" {
		t.Errorf("redirect: %+v, %v", look, err)
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	address := gone.URL
	gone.Close()
	look, err := query(t, ServerOptions{URL: strings.Replace(address, "://", "://prom:hunter2-hunter2@", 1)}).Look(t.Context(), moment)
	if err != nil || look.Verdict != batch.GateInconclusive || !strings.Contains(look.Reason, "connection refused") || strings.Contains(look.Reason, "hunter2") {
		t.Errorf("away: %+v, %v", look, err)
	}
}

func TestWhoMayAskTheServer(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if r.Header.Get("Authorization") != "Bearer t0ken" && user+password != "promhunter2" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"status":"error","error":"not with %s or %s"}`, r.Header.Get("Authorization"), password)
			return
		}
		_, _ = w.Write([]byte(vector("1")))
	}))
	server.Config.ErrorLog = nil
	defer server.Close()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	token := write("token", "t0ken\n")
	for _, tt := range []struct {
		name    string
		o       ServerOptions
		verdict batch.GateVerdict
		reason  string
	}{
		{"token", ServerOptions{URL: server.URL, CA: ca, TokenFile: token}, batch.GatePassed, ""},
		{"password", ServerOptions{URL: strings.Replace(server.URL, "://", "://prom:hunter2@", 1), CA: ca}, batch.GatePassed, ""},
		{"no token", ServerOptions{URL: server.URL, CA: ca}, batch.GateInconclusive, "the server says: not with  or"},
		{"wrong token", ServerOptions{URL: server.URL, CA: ca, TokenFile: write("wrong", "hunter2-hunter2")}, batch.GateInconclusive, "not with Bearer [redacted]"},
		{"wrong password", ServerOptions{URL: strings.Replace(server.URL, "://", "://bob:hunter2@", 1), CA: ca}, batch.GateInconclusive, "not with Basic [redacted] or [redacted]"},
		{"no authority", ServerOptions{URL: server.URL, TokenFile: token}, batch.GateInconclusive, "certificate"},
		{"not verified", ServerOptions{URL: server.URL, TokenFile: token, Insecure: true}, batch.GatePassed, ""},
		{"token file is gone", ServerOptions{URL: server.URL, CA: ca, TokenFile: filepath.Join(dir, "none")}, batch.GateInconclusive, "there is no file"},
	} {
		look, err := query(t, tt.o).Look(t.Context(), moment)
		if err != nil || look.Verdict != tt.verdict || !strings.Contains(look.Reason, tt.reason) || strings.Contains(look.Reason, "hunter2") {
			t.Errorf("%s: %+v, %v", tt.name, look, err)
		}
	}
	for _, tt := range []struct {
		name string
		o    ServerOptions
		want string
	}{
		{"no URL", ServerOptions{}, "begins with http"},
		{"no URL at all", ServerOptions{URL: "http://a:hunter2@[x"}, "is not a URL"},
		{"another scheme", ServerOptions{URL: "ftp://prom"}, "begins with http"},
		{"token in clear", ServerOptions{URL: "http://prom:9090", TokenFile: token}, "without TLS"},
		{"password in clear", ServerOptions{URL: "http://a:hunter2@prom:9090"}, "without TLS"},
		{"two ways in", ServerOptions{URL: "https://a:hunter2@prom:9090", TokenFile: token}, "leave one out"},
		{"no authority", ServerOptions{URL: "https://prom", CA: filepath.Join(dir, "none")}, "authority"},
		{"no certificate in it", ServerOptions{URL: "https://prom", CA: token}, "no certificate in PEM"},
		{"no certificate", ServerOptions{URL: "https://prom", Cert: token, Key: token}, "certificate for the Prometheus server"},
	} {
		if _, err := NewServer(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, url := range []string{"http://localhost:9090", "http://127.0.0.1:9090", "http://[::1]:9090"} {
		if _, err := NewServer(ServerOptions{URL: url, TokenFile: token}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// Where the server asks for a certificate, ours is shown.
func TestOurCertificateIsShown(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(vector(fmt.Sprint(len(r.TLS.PeerCertificates)))))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	look, err := query(t, ServerOptions{URL: server.URL, Insecure: true}).Look(t.Context(), moment)
	if err != nil || look.Value != "0" {
		t.Errorf("without one: %+v, %v", look, err)
	}
	cert, key := pair(t)
	look, err = query(t, ServerOptions{URL: server.URL, Insecure: true, Cert: cert, Key: key}).Look(t.Context(), moment)
	if err != nil || look.Value != "1" {
		t.Errorf("with one: %+v, %v", look, err)
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, text := range []string{vector("1"), vector("0", "1"), result("scalar", `[1,"NaN"]`), `{"status":"error"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		value, err := parseAnswer(text)
		if err != nil && value != 0 {
			t.Errorf("%v beside %v", value, err)
		}
		if err == nil && (value != value || !strings.Contains(string(text), "success")) {
			t.Errorf("%v of %q", value, text)
		}
	})
}
