//go:build unix

package interop

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// randomFilters is how many filters each comparison makes up.
const randomFilters = 200

// TestRandomFiltersSelectTheSameNodes asks a practice fleet for made-up filters with both clients.
func TestRandomFiltersSelectTheSameNodes(t *testing.T) {
	eachVersion(t, func(t *testing.T, version int) {
		lab := startLab(t, version, 40)
		flags := []string{"--json", "--discovery-timeout", "1", "--discovery-window"}
		lab.compareRandomFilters(t, verbs("find", "discover", flags...), verbs("find", "discover", "--json", "--discovery-timeout", "4"))
	})
}

// TestRandomFiltersReadAnInventoryTheSame compares the evaluation itself: with an inventory file both clients evaluate
// the filters, over facts of every kind.
func TestRandomFiltersReadAnInventoryTheSame(t *testing.T) {
	lab := startLab(t, 1, 1) // only for its configuration
	source := lab.path("inventory.json")
	write(t, source, oddInventory(t))
	find := verbs("find", "discover", "--json", "--dm", "inventory", "--do", "file="+source)
	lab.compareRandomFilters(t, find, find)
}

// verbs are the same flags behind their command and ours.
func verbs(theirs, ours string, flags ...string) [2][]string {
	return [2][]string{append([]string{theirs}, flags...), append([]string{ours}, flags...)}
}

// startLab brings up a practice fleet that lasts as long as the test. Its network has no servers to freeze or to end.
func startLab(t *testing.T, version, nodes int) *network {
	t.Helper()
	lab := &network{version: version, dir: t.TempDir(), choria: choriaBinary(t)}
	dir := lab.folder(t, "lab")
	lab.ConfigFile = filepath.Join(dir, "client.conf")
	p := startProcess(t, "lab", dir, fleetctlBinary(t), "lab", "--dir", dir, "--nodes", fmt.Sprint(nodes), "--protocol", fmt.Sprint(version))
	await(t, time.Minute, "the lab", func() bool {
		p.mustRun(t)
		out, err := os.ReadFile(filepath.Join(dir, "out.log"))
		return err == nil && strings.Contains(string(out), "fleetctl discover")
	})
	return lab
}

// compareRandomFilters wants for each filter the same nodes from both clients, or a refusal from ours that says why.
// A busy machine can make either client miss a node: filters that differ are asked again, with the second verbs.
func (n *network) compareRandomFilters(t *testing.T, first, again [2][]string) {
	t.Helper()
	rng, seed := randomSource(t)
	cases := make([][]string, randomFilters)
	for i := range cases {
		cases[i] = randomFilter(rng)
	}
	began := time.Now()
	var differ [][]string
	equal, refused, selecting := 0, 0, 0
	for _, p := range n.Both(t, first, cases) {
		switch {
		case p.difference(t) != "":
			differ = append(differ, p.args)
		case p.ours.Code == 2:
			refused++
			t.Logf("refused: %q: %s", p.args, strings.TrimSpace(p.ours.Stderr))
		default:
			equal++
			selecting += min(1, len(names(t, p.ours)))
		}
	}
	for _, p := range n.Both(t, again, differ) {
		if diff := p.difference(t); diff != "" {
			t.Errorf("INTEROP_SEED=%d: %q: %s", seed, p.args, diff)
			continue
		}
		equal++
	}
	t.Logf("INTEROP_SEED=%d: of %d filters %d select the same nodes (%d of them any), %d are refused; %d were asked twice; %v",
		seed, len(cases), equal, selecting, refused, len(differ), time.Since(began).Round(time.Second))
	if equal < randomFilters*2/3 || selecting < randomFilters/5 {
		t.Errorf("INTEROP_SEED=%d: %d filters are compared and %d of them select nodes: too few to mean anything", seed, equal, selecting)
	}
}

// randomSource is seeded by the variable INTEROP_SEED, else by the clock.
func randomSource(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("INTEROP_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("INTEROP_SEED: %v", err)
		}
	}
	t.Logf("INTEROP_SEED=%d repeats this", seed)
	return rand.New(rand.NewPCG(seed, 1)), seed
}

// refusal is how our client says why it does not take a filter.
var refusal = regexp.MustCompile(`^fleetctl: (cannot use|read) -[FCAIWS].+`)

// difference reports how the clients' answers to one filter differ; "" when ours has the same nodes, or refuses.
func (p pair) difference(t *testing.T) string {
	t.Helper()
	switch {
	case p.ours.Code == 2 && p.ours.Stdout == "" && refusal.MatchString(p.ours.Stderr):
		return ""
	case p.ours.Code != 0 && p.ours.Code != 8:
		return fmt.Sprintf("fleetctl ends with %d: %s", p.ours.Code, p.ours.Stderr)
	case p.theirs.Code != 0:
		return fmt.Sprintf("choria ends with %d: %s, fleetctl with %d", p.theirs.Code, p.theirs.Stdout+p.theirs.Stderr, p.ours.Code)
	}
	if diff := cmp.Diff(names(t, p.theirs), names(t, p.ours)); diff != "" {
		return fmt.Sprintf("nodes (-choria +fleetctl)\n%s%s", diff, p.ours.Stderr)
	}
	return ""
}

// vocabulary are facts with values that some nodes have, and values that none has.
var vocabulary = []struct {
	fact   string
	values []string
}{
	{"country", []string{"mt", "de", "us", "MT", "fr", "/^m/", "/(de|us)/", "^[mn]"}},
	{"site", []string{"mla1", "fra1", "/1$/", "nyc"}},
	{"role", []string{"web", "db", "Web", "/^(db|lb)$/", "zz"}},
	{"rack", []string{"mla1-r01", "/r02/", "fra1-r01"}},
	{"virtual", []string{"true", "false", "TRUE", "1", "no", "/true/"}},
	{"memorymb", []string{"8192", "16384", "4096.0", "8192.5", "010", "lots", "/^8/", "/^81.*/", "0x10"}},
	{"os", []string{"RedHat", "/./"}},
	{"os.family", []string{"redhat", "Debian", "/hat$/"}},
	{"os.release.major", []string{"9", "8", "24.04", "/^1?2/"}},
	{"os.release.full", []string{"9.5", "9", "/^9\\./", "9.40"}},
	{"kernel", []string{"linux", "/LINUX/", "bsd"}},
	{"processors.count", []string{"2", "4", "8", "3.5", "-1"}},
	{"networking.ip", []string{"10.10.0.1", "/^10\\.[12]0/", "10.30"}},
	{"networking.fqdn", []string{"web01.mla1.example.net", "/^db/"}},
	{"tags", []string{"web", `["web","mt"]`}},
	{"tags.0", []string{"web", "db"}},
	{"tags.#", []string{"2", "3", "2.0"}},
	{`tags.#(=="web")`, []string{"web", "db"}},
	{`tags.#(%"d*")`, []string{"db", "de"}},
	{"odd", []string{"1", "0", "true", "yes", "a b", "1.5", "-0.25", "1e3", "null", "été", "ÉTÉ", "/[é]/", "1000", "/1\\.5/", "", "/"}},
	{`with\.dot`, []string{"here", "/HERE/"}},
	{"nosuch", []string{"1", "x", "/x/"}},
}

var (
	operators  = []string{"=", "=", "=", "==", "!=", "=~", "<", "<=", ">", ">=", "=<", "=>", " = ", " >= "}
	classes    = []string{"common", "role::web", "ROLE::DB", "role::app", "country::mt", "/^role::[dw]/", "/ROLE/", "/country::(de|nl)$/", "nosuch", "/nosuch/"}
	agents     = []string{"rpcutil", "choria_util", "choria_provision", "discovery", "scout", "/^choria_/", "/RPC/", "/u.il$/", "nosuch"}
	identities = []string{"/^web/", "/db0[1-3]/", "/MLA1/", `/\.(fra|nyc)1\./`, "/./", "web01.mla1.example.net", "db01.fra1.example.net", "nosuch.example.net"}
	// surprises are names that our client refuses.
	surprises = []string{"/(unclosed/", "/[/", "role::*", "country=mt", "/web", "web*", "web?", "//"}
)

func pick[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// pickName is one of the names, now and then a surprise.
func pickName(rng *rand.Rand, list []string) string {
	if rng.IntN(30) == 0 {
		return pick(rng, surprises)
	}
	return pick(rng, list)
}

// randomFilter combines one to three kinds of filter flags.
func randomFilter(rng *rand.Rand) []string {
	var args []string
	for _, kind := range rng.Perm(8)[:pick(rng, []int{1, 1, 2, 2, 3})] {
		times := 1
		if rng.IntN(6) == 0 {
			times = 2
		}
		for range times {
			switch kind {
			case 0, 1:
				args = append(args, "-F", randomFact(rng))
			case 2:
				args = append(args, "-C", pickName(rng, classes))
			case 3:
				args = append(args, "-A", pickName(rng, agents))
			case 4:
				args = append(args, "-I", pickName(rng, identities))
			case 5:
				args = append(args, "-W", randomCombined(rng))
			default:
				if !slices.Contains(args, "-S") || rng.IntN(20) == 0 {
					args = append(args, "-S", randomExpression(rng, 2))
				}
			}
		}
	}
	return args
}

// randomFact is a fact filter, its value most often of the right kind.
func randomFact(rng *rand.Rand) string {
	of := pick(rng, vocabulary)
	value := pick(rng, of.values)
	if rng.IntN(8) == 0 {
		value = pick(rng, pick(rng, vocabulary).values)
	}
	operator := pick(rng, operators)
	if strings.HasPrefix(value, "/") && rng.IntN(10) > 0 {
		operator = pick(rng, []string{"=", "=~"}) // with another one it is a surprise
	}
	return of.fact + operator + value
}

func randomCombined(rng *rand.Rand) string {
	var pieces []string
	for range 1 + rng.IntN(2) {
		if rng.IntN(2) == 0 {
			pieces = append(pieces, pickName(rng, classes))
			continue
		}
		pieces = append(pieces, strings.ReplaceAll(randomFact(rng), " ", ""))
	}
	return strings.Join(pieces, " ")
}

// randomExpression is a compound filter of at most 2^depth terms, now and then one that servers cannot read.
func randomExpression(rng *rand.Rand, depth int) string {
	if depth > 0 && rng.IntN(2) == 0 {
		left, right := randomExpression(rng, depth-1), randomExpression(rng, depth-1)
		return fmt.Sprintf(pick(rng, []string{"%s and %s", "%s or %s", "(%s) && !(%s)", "not (%s or %s)", "%s ? true : %s"}), left, right)
	}
	quoted := strconv.Quote
	of := pick(rng, vocabulary)
	fact, value := "fact("+quoted(of.fact)+")", pick(rng, of.values)
	switch rng.IntN(20) {
	case 0, 1, 11, 12:
		return "with(" + quoted(randomFact(rng)) + ")"
	case 2, 14, 15:
		return "with(" + quoted(pick(rng, classes)) + ")"
	case 3:
		return "with(" + quoted(pick(rng, agents)) + ")"
	case 4, 16, 17, 18:
		return fact + pick(rng, []string{" == ", " != ", " < ", " >= "}) + quoted(value)
	case 5:
		return fact + pick(rng, []string{" > ", " <= ", " == "}) + strconv.Itoa(rng.IntN(20000))
	case 6:
		return fact + pick(rng, []string{" matches ", " contains ", " startsWith "}) + quoted(strings.Trim(value, "/"))
	case 7:
		return `include(fact("tags"), ` + quoted(pick(rng, []string{"web", "db", "mt", "zz"})) + ")"
	case 8:
		return `semver(fact("os.release.full"), ` + quoted(pick(rng, []string{">= 9", "< 9", "> 8, < 12", "~9.4"})) + ")"
	case 9:
		return quoted(pick(rng, agents)) + " in agents"
	case 10, 13:
		return quoted(pick(rng, classes)) + pick(rng, []string{" in classes", " not in classes"})
	}
	return pick(rng, []string{"true", "false", "country", "facts.country == 1", "fact(", "mco('x')", "len(classes) > 2", "1", `fact("virtual")`, `semver("1", "oops")`})
}

// oddInventory is an inventory file of nodes whose facts have the same names and values of every kind.
func oddInventory(t *testing.T) []byte {
	t.Helper()
	odd := []any{1, 0, 1.5, -0.25, 1000, 1e3, true, false, "true", "yes", "a b", "", "/", "été", "1.5", nil, []any{"a", 1}, map[string]any{"a": 1}}
	releases := []any{"9.5", "9.40", "8.10", 9, 9.5, "24.04", "nine"}
	nodes := make([]any, 40)
	for i := range nodes {
		country, role, site := []string{"mt", "de", "us", "nl"}[i%4], []string{"web", "db", "app", "cache", "lb"}[i%5], []string{"mla1", "fra1", "nyc1"}[i%3]
		facts := map[string]any{
			"country": country, "role": role, "site": site, "rack": fmt.Sprintf("%s-r%02d", site, i%4), "kernel": "Linux",
			"virtual": []any{true, false, "true", 1}[i%4], "memorymb": []any{4096, 8192, 8192.5, 16384, "8192"}[i%5],
			"os":         map[string]any{"family": []any{"RedHat", "Debian"}[i%2], "release": map[string]any{"full": releases[i%7], "major": releases[i%6]}},
			"processors": map[string]any{"count": 2 << (i % 4)}, "tags": []any{role, country}, "odd": odd[i%len(odd)], "with.dot": "here",
			"networking": map[string]any{"ip": fmt.Sprintf("10.%d.0.%d", 10+i%4*10, i), "fqdn": fmt.Sprintf("%s%02d.%s.example.net", role, i, site)},
		}
		if i%9 == 0 {
			delete(facts, "country")
		}
		nodes[i] = map[string]any{
			"name": fmt.Sprintf("%s%02d.%s.example.net", role, i, site), "collectives": []string{"mcollective"}, "facts": facts,
			"classes": []string{"common", "role::" + role, "country::" + country}, "agents": []string{"rpcutil", "discovery", []string{"scout", "choria_util"}[i%2]},
		}
	}
	file, err := json.Marshal(map[string]any{
		"$schema": "https://choria.io/schemas/choria/discovery/v1/inventory_file.json", "groups": []any{}, "nodes": nodes,
	})
	if err != nil {
		t.Fatal(err)
	}
	return file
}
