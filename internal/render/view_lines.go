package render

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/schollz/progressbar/v3"

	"fleetctl/internal/plain"
)

const (
	minBar, maxBar = 10, 30
	// maxCauses is how many lines of failures a view has.
	maxCauses = 3
	// maxWaits is how many nodes that are waited for are named.
	maxWaits = 3
	// wideView is from how many columns on a line of failures has its long form.
	wideView = 50
	ellipsis = "…"
)

// Lines are the lines of a terminal of so many columns and rows, none as wide as it is: some terminals wrap when the last
// column is filled. A narrow terminal loses details, and failures last. Rows below 1 are any number.
func (v View) Lines(columns, rows int, color bool) []string {
	room := max(columns-1, 1)
	head, bar, status := v.header(room), v.bar(room), v.status(room)
	if color && !v.Paused.IsZero() {
		status = yellow.paint(true, status)
	}
	failures := v.failures(room)
	for i := range failures {
		failures[i] = red.paint(color, failures[i])
	}
	lines := append([]string{head, bar, status}, failures...)
	if rows < 1 {
		return lines
	}
	room = max(rows-1, 1)
	if len(lines) > room {
		lines = lines[1:]
	}
	if len(lines) > room {
		lines = append([]string{bar}, failures...)
	}
	return lines[:min(len(lines), room)]
}

// fits is the first of the texts that has room, else the last one cut. Empty ones are no choice.
func fits(room int, texts ...string) string {
	last := ""
	for _, t := range texts {
		switch {
		case t == "":
		case Width(t) <= room:
			return t
		default:
			last = t
		}
	}
	return cut(last, room)
}

// cut shortens a text to a room.
func cut(s string, room int) string {
	if Width(s) <= room {
		return s
	}
	if room < 2 {
		return text.Trim(s, max(room, 0))
	}
	return strings.TrimRight(text.Trim(s, room-1), " ") + ellipsis
}

// words are what the keys do, the long form first.
func (v View) words() []string {
	space := "pauses"
	if !v.Paused.IsZero() {
		space = "continues"
	}
	switch {
	case v.Keys.Watch:
		return []string{"Ctrl-C ends this view, not the run", "^C ends this view", "^C"}
	case v.Stopping != "":
		return []string{"Ctrl-C leaves at once", "^C leaves", "^C"}
	case v.Keys.Pause:
		return []string{"space " + space + ", Ctrl-C stops", "space " + space + ", ^C stops", "space, ^C"}
	}
	return []string{"Ctrl-C stops", "^C stops", "^C"}
}

// header names the run, its time and the keys.
func (v View) header(room int) string {
	run, what := "", oneLine(v.What)
	if v.Run != "" {
		run = "run " + oneLine(v.Run)
	}
	times := clock(v.Now.Sub(v.Began))
	if eta := v.eta(); eta != "" {
		times += "  ETA " + eta
	}
	keys := v.words()
	var texts []string
	for _, c := range [][]string{{run, what, times, keys[0]}, {run, what, times, keys[1]}, {run, times, keys[1]}, {what, times, keys[1]}, {times, keys[1]}, {times, keys[2]}} {
		left, right := joined(c[:len(c)-1]...), c[len(c)-1]
		gap := max(2, min(room, 100)-Width(left)-Width(right))
		texts = append(texts, left+strings.Repeat(" ", gap)+right)
	}
	return fits(room, append(texts, times, clock(v.Now.Sub(v.Began)))...)
}

// eta is how long the run still takes: by the estimate; when what is at work now takes longer than that, what is known
// for certain. It is empty where nothing is known, or where the run waits for something that no estimate covers.
func (v View) eta() string {
	if v.End.IsZero() || v.Stopping != "" || v.Doing == Ended || v.lead() != "" {
		return ""
	}
	left, shown := v.End.Sub(v.Now), func(d time.Duration) bool { return d.Round(time.Second) > 0 }
	switch most := v.Latest.Sub(v.Now); {
	case left > v.Rest && shown(left):
		return clock(left)
	case shown(v.Rest):
		return ">" + clock(v.Rest)
	case !v.Latest.IsZero() && shown(most):
		return "<" + clock(most)
	}
	return ""
}

// joined puts two blanks between what is not empty.
func joined(words ...string) string {
	var list []string
	for _, w := range words {
		if w != "" {
			list = append(list, w)
		}
	}
	return strings.Join(list, "  ")
}

// share is which part of the plan did what was asked.
func (v View) share() string {
	word := "done"
	if v.Proves {
		word = "proved"
	}
	return fmt.Sprintf("%d%% %s", v.percent(), word)
}

// percent is rounded down: 100 are all nodes.
func (v View) percent() int { return 100 * v.done() / max(v.nodes(), 1) }

// bar is the line of the counts.
func (v View) bar(room int) string {
	good, bad, failed := countWords(v.States)
	nodes := plain.Count(v.nodes(), "node")
	for _, right := range []string{
		joined(v.share()+" ", joined(good...), joined(bad...), nodes), joined(v.share()+" ", joined(good[:min(len(good), 1)]...), joined(bad...), nodes),
	} {
		if left := room - Width(right) - 3; left >= minBar { // brackets and a blank
			return barOf(v.done(), v.nodes(), min(left, maxBar)) + " " + right
		}
	}
	percent, total := fmt.Sprintf("%d%%", v.percent()), fmt.Sprintf("%d/%d", v.done(), v.nodes())
	texts := []string{joined(v.share(), joined(good...), joined(bad...), nodes), joined(v.share(), joined(bad...), total), joined(percent, joined(bad...), total), joined(percent, joined(bad...))}
	if failed > 0 {
		texts = append(texts, joined(percent, fmt.Sprintf("%d failed", failed)), fmt.Sprintf("%d failed", failed))
	}
	return fits(room, texts...)
}

// barOf draws the bar of a part, with brackets around size columns.
func barOf(done, nodes, size int) string {
	b := progressbar.NewOptions(max(nodes, 1), progressbar.OptionSetWriter(io.Discard), progressbar.OptionSetWidth(size),
		progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false), progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}))
	_ = b.Set(min(done, max(nodes, 1))) // it fails only past the end
	_, drawn, _ := strings.Cut(b.String(), "[")
	drawn, _, _ = strings.Cut(drawn, "]")
	return "[" + drawn + "]"
}

// status is where the run is and what it waits for. A room of 0 is any.
func (v View) status(room int) string {
	if room == 0 {
		room = 1 << 20
	}
	waits := func(before string) string { return v.waits(room, before) }
	if lead := v.lead(); lead != "" {
		return fits(room, waits(lead+"; waits for "), lead)
	}
	where, brief := v.where()
	counts, short := v.counts()
	if counts == "" {
		doing := joined(where, v.doing())
		return fits(room, waits(doing+"; waits for "), doing, joined(brief, v.doing()), v.doing())
	}
	whole := joined(where, counts)
	texts := []string{waits(whole + "; waits for "), waits(joined(where, short) + "; waits for "), waits(where + "  waits for ")}
	if n := len(v.Waits) + v.More; n > 0 {
		texts = append(texts, fmt.Sprintf("%s; waits for %d", whole, n), fmt.Sprintf("%s; waits for %d", joined(where, short), n))
	}
	return fits(room, append(texts, whole, joined(where, short), joined(brief, short), short)...)
}

// lead is what matters more than the batch.
func (v View) lead() string {
	switch {
	case !v.Lost.IsZero():
		return fmt.Sprintf("connection lost %s ago: nothing is sent", clock(v.Now.Sub(v.Lost)))
	case v.Stopping != "":
		return "stops: " + oneLine(v.Stopping)
	case !v.Paused.IsZero():
		by := ""
		if v.PausedBy != "" {
			by = " by " + oneLine(v.PausedBy)
		}
		return fmt.Sprintf("PAUSED%s for %s: nothing new is sent", by, clock(v.Now.Sub(v.Paused)))
	case v.Gate != "":
		return oneLine(v.Gate)
	case v.Shared != "":
		return "waits: " + oneLine(v.Shared)
	case !v.Held.IsZero():
		return "waits until " + v.Held.Local().Format("Mon 15:04") + ": no batch begins before"
	}
	return ""
}

// where is the batch, or the window, in a long and a short form.
func (v View) where() (long, brief string) {
	switch {
	case v.Doing == Recovering, v.Doing == Looking:
		return "", ""
	case v.Window.Size > 0:
		if now := v.Window.Now; now > 0 && now < v.Window.Size {
			return fmt.Sprintf("window %d of %d", now, v.Window.Size), fmt.Sprintf("w%d/%d", now, v.Window.Size)
		}
		return fmt.Sprintf("window %d", v.Window.Size), fmt.Sprintf("w%d", v.Window.Size)
	case v.Batch.Number == 0:
		return "", ""
	}
	brief = fmt.Sprintf("%d/%d", v.Batch.Number, v.Batch.Of)
	return "batch " + brief, brief
}

// counts are those of the batch, or of the window, while it is out.
func (v View) counts() (long, short string) {
	b, w := v.Batch, v.Window
	switch {
	case v.Doing == Recovering || v.Doing == Looking || v.Doing == Ended:
	case w.Size > 0:
		short = fmt.Sprintf("%d in flight", w.InFlight)
		long = short
		if w.Rate > 0 {
			long += fmt.Sprintf(", %s nodes/min", rate(w.Rate))
		}
		if w.Silent > 0 {
			long += fmt.Sprintf(", %s of silent nodes kept", plain.Count(w.Silent, "slot"))
		}
	case v.Doing == Answering || v.Doing == Proving:
		short = fmt.Sprintf("%d/%d", b.Answered, b.Nodes)
		long = short + " answered"
		if v.Proves {
			long += fmt.Sprintf(", %d proved", b.Proved)
		}
	}
	return long, short
}

func rate(r float64) string {
	if r < 10 {
		return fmt.Sprintf("%.1f", r)
	}
	return fmt.Sprintf("%.0f", r)
}

// doing is the step in words, where there are no counts.
func (v View) doing() string {
	switch v.Doing {
	case Asking:
		return fmt.Sprintf("asks %s before sending", plain.Count(v.Batch.Nodes, "node"))
	case Sending:
		return "sends to " + plain.Count(v.Batch.Nodes, "node")
	case Resting:
		if left := v.Wake.Sub(v.Now); left > 0 {
			return "done; next batch in " + clock(left)
		}
		if v.Proves && v.Batch.Number < v.Batch.Of {
			return "done; asks the next nodes before sending"
		}
		return "done"
	case Recovering:
		return "looks at the nodes of before, and sends nothing"
	case Looking:
		return "everything is sent; looks at silent nodes once more"
	}
	return ""
}

// waits puts as many names as have room behind a text; without room for any it is empty.
func (v View) waits(room int, before string) string {
	room -= Width(before)
	more := func(named int) string {
		if left := len(v.Waits) - named + v.More; left > 0 {
			return fmt.Sprintf(" and %d more", left)
		}
		return ""
	}
	names, out := "", ""
	for i, w := range v.Waits[:min(len(v.Waits), maxWaits)] {
		if i > 0 {
			names += ", "
		}
		names += strings.TrimSuffix(oneLine(w.Node), v.Domain)
		if left := max(0, w.Until.Sub(v.Now)); !w.Until.IsZero() && left < 100*time.Second {
			names += fmt.Sprintf(" (%ds)", int(left.Seconds()+0.5))
		} else if !w.Until.IsZero() {
			names += " (" + clock(left) + ")"
		}
		if Width(names+more(i+1)) > room {
			break
		}
		out = before + names + more(i+1)
	}
	return out
}

// failures are the lines of what went wrong.
func (v View) failures(room int) []string {
	var lines []string
	for i, f := range v.Failures {
		if rest := len(v.Failures) - i + v.MoreCauses; i == maxCauses-1 && rest > 1 {
			n := 0
			for _, f := range v.Failures[i:] {
				n += f.Nodes
			}
			return append(lines, fits(room, fmt.Sprintf("  ! %s: %d more causes", plain.Count(n, "node"), rest), fmt.Sprintf("! %d: %d causes", n, rest)))
		}
		if v.Domain != "" {
			f.Names = strings.ReplaceAll(f.Names, v.Domain, "")
		}
		lines = append(lines, f.line(room))
	}
	return lines
}

func (f Failure) line(room int) string {
	head := fmt.Sprintf("! %d: ", f.Nodes)
	if room >= wideView {
		head = fmt.Sprintf("  ! %s: ", plain.Count(f.Nodes, "node"))
	}
	cause, names := oneLine(f.Cause), oneLine(f.Names)
	room -= len(head)
	if Width(cause)+2+Width(names) > room { // a third for the names, the rest for the cause
		cause = cut(cause, max(room-2-min(Width(names), room/3), 1))
		names = cut(names, max(room-2-Width(cause), 0))
	}
	if Width(names) < 4 && names != oneLine(f.Names) {
		return cut(head+oneLine(f.Cause), room+len(head))
	}
	return head + cause + ": " + names
}

// Width is how many columns of a terminal a line takes.
func Width(line string) int { return text.StringWidthWithoutEscSequences(line) }

// Waiting is a line about something that is waited for, and since when.
func Waiting(words string, since time.Duration, columns int) string {
	return fits(max(columns-1, 1), oneLine(words)+"  "+clock(since), oneLine(words))
}
