package gate

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Script is a script that a command names, with what it held when that was looked at.
type Script struct {
	Path   string `json:"path"`   // as the command has it
	SHA256 string `json:"sha256"` // of its content, hexadecimal
}

// Places are where the words of a command may lead: what the shell that runs it has, too.
type Places struct {
	Home string // for ~/ and $HOME/; "" finds none there
	Path string // of the environment, for names without a slash
}

// maxScript is the size of a script in bytes: beyond it, it is something else.
const maxScript = 16 << 20

// interpreter matches programs whose first operand that is a file is a script; assignment a variable before a command.
var interpreter = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(sh|bash|dash|ksh|zsh|fish|python[0-9.]*|perl|ruby|node|php|lua|Rscript|pwsh)$`)
})

var assignment = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z_0-9]*=`) })

// Scripts finds the scripts that a command names: files that begin with #!, by a path or found on the search path, and the
// files that it hands to an interpreter. What its output goes to is none. A script that only another script or a
// variable names is not found. The error is that of a script that cannot be read.
func (p Places) Scripts(command string) ([]Script, error) {
	var found []Script
	add := func(path, file string) error {
		if slices.ContainsFunc(found, func(s Script) bool { return s.Path == path }) {
			return nil
		}
		sum, err := hashFile(file)
		if err != nil {
			return fmt.Errorf("script %s: %w", path, err)
		}
		found = append(found, Script{path, sum})
		return nil
	}
	err := p.walk(command, 0, add)
	return found, err
}

// maxNesting is how deep a command may stand within quotes: sh -c 'sh -c "..."'.
const maxNesting = 4

func (p Places) walk(command string, depth int, add func(path, file string) error) error {
	first, operand := true, false // the command itself; a word that is a file is a script: it stands behind an interpreter
	for _, w := range shellWords(command) {
		switch {
		case w.redirected:
			continue
		case w.operator:
			first, operand = true, false
			continue
		}
		if depth < maxNesting && strings.ContainsAny(w.text, " \t\n;|&") {
			if err := p.walk(w.text, depth+1, add); err != nil {
				return err
			}
		}
		file := p.file(w.text)
		switch {
		case file == "":
		case hasShebang(file), operand && strings.TrimLeft(w.text, "-") == w.text:
			if err := add(w.text, file); err != nil {
				return err
			}
			operand = false
		}
		operand = operand || interpreter().MatchString(filepath.Base(w.text)) || first && (w.text == "." || w.text == "source")
		first = first && assignment().MatchString(w.text)
	}
	return nil
}

// file is the regular file that a word leads to; "" when it leads to none.
func (p Places) file(word string) string {
	for _, home := range []string{"~/", "$HOME/", "${HOME}/"} {
		if rest, ok := strings.CutPrefix(word, home); ok && p.Home != "" {
			word = filepath.Join(p.Home, rest)
		}
	}
	if word == "" {
		return ""
	}
	if regular(word) {
		return word
	}
	if strings.Contains(word, "/") {
		return ""
	}
	for _, dir := range filepath.SplitList(p.Path) {
		if file := filepath.Join(dir, word); dir != "" && regular(file) && hasShebang(file) {
			return file
		}
	}
	return ""
}

func regular(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular()
}

func hasShebang(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	first, err := bufio.NewReader(f).Peek(2)
	return err == nil && string(first) == "#!"
}

func hashFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(f, maxScript+1))
	if err != nil {
		return "", err
	}
	if n > maxScript {
		return "", fmt.Errorf("it is longer than %d bytes", maxScript)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Pins are the scripts that a command named when its plan was saved.
type Pins struct {
	Places
	Saved []Script
}

// changed says what is different now; "" when nothing is, or nothing is pinned.
func (p *Pins) changed(command string) string {
	if p == nil {
		return ""
	}
	now, err := p.Scripts(command)
	if err != nil {
		return "cannot be compared with the plan: " + err.Error()
	}
	return Changed(p.Saved, now)
}

// Changed says how the scripts of a command differ from those that were saved; "" when they do not.
func Changed(saved, now []Script) string {
	for _, was := range saved {
		i := slices.IndexFunc(now, func(s Script) bool { return s.Path == was.Path })
		switch {
		case i < 0:
			return fmt.Sprintf("script %s was there when the plan was saved, and is not now", was.Path)
		case now[i].SHA256 != was.SHA256:
			return fmt.Sprintf("script %s has changed since the plan was saved", was.Path)
		}
	}
	for _, s := range now {
		if !slices.ContainsFunc(saved, func(was Script) bool { return was.Path == s.Path }) {
			return fmt.Sprintf("%s was no script when the plan was saved", s.Path)
		}
	}
	return ""
}
