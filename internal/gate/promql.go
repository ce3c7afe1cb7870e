package gate

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"fleetctl/batch"
)

// PromQL is a gate that asks a Prometheus server an instant query. Exactly one number is wanted: another than zero passes,
// zero fails. Nothing else decides: no series, several, NaN, an infinite number, warnings, an error of any kind.
type PromQL struct {
	Expr    string
	Server  *Server
	Timeout time.Duration // of one look; must be positive
	Scrub   Scrub
}

// maxAnswer is the size of an answer in bytes: one number has hardly a thousand.
const maxAnswer = 1 << 20

// Look asks once. The error is the context's cause: there is no verdict.
func (q PromQL) Look(ctx context.Context, _ batch.Moment) (batch.GateLook, error) {
	look := batch.GateLook{Gate: q.Scrub.words(q.Expr), Verdict: batch.GateInconclusive}
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, q.Timeout)
	defer cancel()
	value, err := q.ask(limited)
	look.Took = time.Since(began)
	switch {
	case ctx.Err() != nil:
		return look, context.Cause(ctx)
	case limited.Err() != nil:
		look.Reason = fmt.Sprintf("no answer within %s", q.Timeout)
		return look, nil
	case err != nil:
		look.Reason = q.Scrub.words(err.Error())
		if hint := q.Hint(); hint != "" {
			look.Reason += " (" + hint + ")"
		}
		return look, nil
	}
	look.Value = strconv.FormatFloat(value, 'g', -1, 64)
	look.Reason = "it is " + look.Value
	if look.Verdict = batch.GatePassed; value == 0 {
		if look.Verdict = batch.GateFailed; q.Hint() != "" {
			look.Reason += " (" + q.Hint() + ")"
		}
	}
	return look, nil
}

// comparison finds a comparison outside of what selects series, and whether it gives 0 and 1.
var (
	selectors  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{[^{}]*\}|"[^"]*"|'[^']*'`) })
	comparison = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[<>]|[=!]=`) })
	asBool     = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`([<>]=?|[=!]=)\s*bool\b`) })
)

// Hint says what is likely wrong with the expression: a comparison without bool gives the number on its left, or nothing,
// neither of which says whether it holds. "" when nothing is.
func (q PromQL) Hint() string {
	bare := selectors().ReplaceAllString(q.Expr, "")
	if !comparison().MatchString(bare) || asBool().MatchString(bare) {
		return ""
	}
	return "a comparison gives 0 or 1 only with bool, as in: rate < bool 0.01"
}

// ask asks the server and reads the one number.
func (q PromQL) ask(ctx context.Context) (float64, error) {
	s := q.Server
	request, err := s.request(ctx, q.Expr, q.Timeout)
	if err != nil {
		return 0, err
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return 0, s.explain(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, s.explain(err)
	case len(text) > maxAnswer:
		return 0, fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	value, err := parseAnswer([]byte(s.hide(request, string(text))))
	if answer.StatusCode == http.StatusOK || errors.As(err, new(saidError)) {
		return value, err
	}
	return 0, fmt.Errorf("the server answered %s", answer.Status)
}

// saidError is what the server itself says of the query.
type saidError string

// Error implements error.
func (e saidError) Error() string { return "the server says: " + string(e) }

// parseAnswer reads the one number of an answer to an instant query (the HTTP API of Prometheus, version 1).
func parseAnswer(text []byte) (float64, error) {
	var a struct {
		Status   string   `json:"status"`
		Error    string   `json:"error"`
		Kind     string   `json:"errorType"`
		Warnings []string `json:"warnings"`
		Data     *struct {
			Type   string          `json:"resultType"`
			Result json.RawMessage `json:"result"`
		} `json:"data"`
	}
	switch err := json.Unmarshal(text, &a); {
	case err != nil:
		return 0, errors.New("the answer is not that of a Prometheus server")
	case a.Status == "error" || a.Error != "":
		return 0, saidError(cmp.Or(a.Error, a.Kind, "an error"))
	case a.Status != "success" || a.Data == nil:
		return 0, errors.New("the answer is not that of a Prometheus server")
	case len(a.Warnings) > 0:
		return 0, saidError("warning: " + a.Warnings[0])
	}
	return parseResult(a.Data.Type, a.Data.Result)
}

// parseResult reads the number of a result.
func parseResult(kind string, result json.RawMessage) (float64, error) {
	sample := result
	switch kind {
	case "scalar":
	case "vector":
		var series []struct {
			Value     json.RawMessage `json:"value"`
			Histogram json.RawMessage `json:"histogram"`
		}
		switch err := json.Unmarshal(result, &series); {
		case err != nil:
			return 0, errors.New("the answer is not that of a Prometheus server")
		case len(series) == 0:
			return 0, errors.New("no series: it is empty")
		case len(series) > 1:
			return 0, fmt.Errorf("%d series, and exactly one is wanted", len(series))
		case len(series[0].Histogram) > 0:
			return 0, errors.New("a histogram, and a number is wanted")
		}
		sample = series[0].Value
	default:
		return 0, fmt.Errorf("a result of type %q, and one number is wanted", kind)
	}
	var parts [2]json.RawMessage // of an array of another length the rest is zero or dropped
	var text string
	if bytes.Count(sample, []byte(",")) != 1 || json.Unmarshal(sample, &parts) != nil || json.Unmarshal(parts[1], &text) != nil {
		return 0, errors.New("the answer is not that of a Prometheus server")
	}
	value, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("the value %q is no number", text)
	case math.IsNaN(value):
		return 0, errors.New("the value is NaN")
	case math.IsInf(value, 0):
		return 0, fmt.Errorf("the value is infinite (%s)", text)
	}
	return value, nil
}

// address is where an instant query is asked.
func (s *Server) address(expr string, limit time.Duration) string {
	u := *s.url
	u.User, u.Fragment = nil, ""
	u = *u.JoinPath("api/v1/query")
	values := u.Query()
	values.Set("query", expr)
	values.Set("timeout", strconv.FormatFloat(limit.Seconds(), 'f', -1, 64)+"s")
	u.RawQuery = values.Encode()
	return u.String()
}

// explain words what went wrong on the way to the server, without the address: it is long, and holds the expression.
func (s *Server) explain(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%s: %s", s.name(), strings.TrimSpace(err.Error()))
}
