package config

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"fleetctl/internal/secret"
)

// loader builds one Config.
type loader struct {
	c      *Config
	env    Environment
	fields map[string]*field
	// refused is the first value that cannot be used at all.
	refused error
}

// source is one file and how its lines count.
type source struct {
	path    string
	prefix  string // put before every key, with a dot; "" for none
	typed   bool   // sets the keys that we know; otherwise only unknown keys have an effect
	project bool   // a choria.conf of the working directory or above
}

func newLoader(env Environment) *loader {
	c := &Config{values: map[string]setting{}}
	l := &loader{c: c, env: env, fields: fieldsOf(c)}
	for key, f := range l.fields {
		switch {
		case f.fixed:
			l.assign(key, f, f.def, "default")
		case f.def != "":
			if problem, _ := l.store(f, f.def); problem != nil {
				panic(fmt.Sprintf("config: default of %s %v", key, problem))
			}
			l.record(key, f, f.def, "default")
		}
	}
	return l
}

func (l *loader) warn(format string, args ...any) {
	l.c.Warnings = append(l.c.Warnings, fmt.Sprintf(format, args...))
}

// searchPlaces is the search order of the main file (docs/protocol.md, file search).
func searchPlaces(home, goos string) []string {
	var places []string
	if home != "" {
		places = append(places, filepath.Join(home, ".choriarc"), filepath.Join(home, ".mcollective"))
	}
	if goos == "windows" {
		return append(places, `C:\ProgramData\choria\etc\client.conf`)
	}
	return append(places, "/etc/choria/client.conf", "/usr/local/etc/choria/client.conf", "/etc/puppetlabs/mcollective/client.cfg")
}

// exists is true when in doubt: a file that cannot be examined must end in an error, not be passed over.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// readFiles reads the main file, the drop-in directory and the project files, in that order.
func (l *loader) readFiles(path string) error {
	places := []string{path}
	if path == "" {
		places = searchPlaces(l.env.Home, runtime.GOOS)
	}
	for _, p := range places {
		if p = l.absolute(p); p == "" {
			continue
		}
		if !exists(p) {
			continue
		}
		l.c.File = p
		if err := l.readFile(source{path: p, typed: true}); err != nil {
			return err
		}
		if err := l.readPluginDir(); err != nil {
			return err
		}
		return l.readProjects()
	}
	return &NotFoundError{Places: places}
}

// absolute completes a path from the working directory; "" when that is not known.
func (l *loader) absolute(path string) string {
	switch {
	case filepath.IsAbs(path):
		return path
	case l.env.Dir == "":
		return ""
	}
	return filepath.Join(l.env.Dir, path)
}

// readPluginDir reads plugin.d beside the main file. Choria skips it for a main file under HOME, opens
// NAME.cfg for each NAME.cfg and each NAME.conf, and lets only choria.cfg set the keys that it knows.
func (l *loader) readPluginDir() error {
	dir := filepath.Join(filepath.Dir(l.c.File), "plugin.d")
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil
	}
	if under(l.env.Home, l.c.File) {
		l.warn("%s has no effect: Choria does not read it for a main file in the home directory", dir)
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read configuration directory %q: %w", dir, err)
	}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if ext != ".cfg" && ext != ".conf" {
			continue
		}
		name := strings.TrimSuffix(e.Name(), ext)
		path := filepath.Join(dir, name+".cfg")
		if !exists(path) {
			l.warn("%s has no effect: Choria reads %s", filepath.Join(dir, e.Name()), path)
			continue
		}
		if ext == ".conf" {
			l.warn("%s has no effect: Choria reads %s in its place", filepath.Join(dir, e.Name()), path)
			continue
		}
		if err := l.readFile(source{path: path, prefix: "plugin." + name + ".", typed: e.Name() == "choria.cfg"}); err != nil {
			return err
		}
	}
	return nil
}

// readProjects reads choria.conf of every directory from the root down to the working directory.
func (l *loader) readProjects() error {
	if l.env.Dir == "" {
		return nil
	}
	var paths []string
	for dir := filepath.Clean(l.env.Dir); ; dir = filepath.Dir(dir) {
		paths = append(paths, filepath.Join(dir, "choria.conf"))
		if dir == filepath.Dir(dir) {
			break
		}
	}
	for i := len(paths) - 1; i >= 0; i-- {
		if !exists(paths[i]) {
			continue
		}
		why, err := l.untrusted(paths[i])
		if err != nil {
			return fmt.Errorf("examine configuration %s: %w", paths[i], err)
		}
		if why != "" {
			l.warn("%s is passed over: %s", paths[i], why)
			continue
		}
		if err := l.readFile(source{path: paths[i], typed: true, project: true}); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) readFile(s source) error {
	f, err := os.Open(s.path)
	if err != nil {
		return fmt.Errorf("open configuration: %w", err)
	}
	defer f.Close()
	l.c.Files = append(l.c.Files, s.path)
	limited := &io.LimitedReader{R: f, N: maxFile + 1}
	if err := l.readLines(limited, s); err != nil {
		return fmt.Errorf("read configuration %s: %w", s.path, err)
	}
	if limited.N == 0 {
		return fmt.Errorf("read configuration %s: it is larger than %d bytes", s.path, maxFile)
	}
	return nil
}

// maxFile is the size of a configuration file in bytes: beyond it, it is something else.
const maxFile = 4 << 20

// byteOrderMark is what some editors put before the first line.
const byteOrderMark = "\ufeff"

// readLines applies the lines of a file. Lines that make no sense are passed over with a warning, as the
// choria client passes them over silently. A file that cannot be read is an error: a partly read
// configuration could mean something else.
func (l *loader) readLines(r io.Reader, s source) error {
	scanner := bufio.NewScanner(r) // with its limit of 64 KiB a line, which is Choria's too
	number := 0
	for scanner.Scan() {
		number++
		text := scanner.Text()
		if number == 1 {
			text = strings.TrimPrefix(text, byteOrderMark)
		}
		key, value, ok := splitLine(text)
		switch {
		case ok:
			l.line(s, s.prefix+key, value, fmt.Sprintf("%s:%d", s.path, number))
		case !skipped(text):
			l.warn("%s:%d is not of the form key = value; it is ignored", s.path, number)
		}
	}
	err := scanner.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		l.warn("%s:%d cannot be read (%v); it and all that follows are ignored", s.path, number+1, err)
		return nil
	}
	return err
}

// line applies one setting of a file.
func (l *loader) line(s source, key, value, origin string) {
	before, _ := l.c.Get(key)
	f := l.fields[key]
	switch {
	case f == nil:
		l.c.values[key] = setting{text: display(key, value), origin: origin}
	case s.typed:
		var old secret.Value
		if p, ok := f.to.(*secret.Value); ok {
			old = *p
		}
		l.assign(key, f, value, origin)
		if p, ok := f.to.(*secret.Value); ok && !p.Equal(old) {
			before = "" // both print alike, yet they differ
		}
	default:
		l.warn("%s: %s has no effect here: Choria reads it from the main file and from project files only", origin, key)
		return
	}
	after, _ := l.c.Get(key)
	if r := risk(key); s.project && r != "" && before != after {
		l.warn("%s: this project file changes %s (%s) from %s to %s", origin, key, r, quote(key, before), quote(key, after))
	}
}

func skipped(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || line[0] == '#'
}

// ASCII white space as regular expressions have it: other spaces stay part of keys and values.
const asciiSpace = "\t\n\f\r "

// splitLine takes a line apart: key, '=', non-empty value. There are no quotes and no comments after a value.
func splitLine(line string) (key, value string, ok bool) {
	line = strings.TrimSpace(line)
	if skipped(line) {
		return "", "", false
	}
	i := strings.IndexByte(line[1:], '=') + 1 // a key has at least one character, be it '='
	if i == 0 {
		return "", "", false
	}
	key = strings.TrimRight(line[:i], asciiSpace)
	value = strings.TrimLeft(line[i+1:], asciiSpace)
	return key, value, value != ""
}
