package cmd

import (
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"

	"fleetctl/internal/config"
	"fleetctl/internal/fleet"
)

// environment is what the process was given besides its arguments.
type environment struct {
	getenv func(name string) (string, bool)
}

// home is the user's own folder. A system's timer may set no HOME; without a home, records and settings would come
// from the working directory.
func (e environment) home() string {
	if home, ok := e.getenv("HOME"); ok && home != "" {
		return home
	}
	if u, err := user.Current(); err == nil {
		return u.HomeDir
	}
	return ""
}

// user is the name of the user that runs this process, for the record. A system's timer may set no USER.
func (e environment) user() string {
	if name, ok := e.getenv("USER"); ok && name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

// folder is a folder of ours below one of the base folders of the system's convention.
func (e environment) folder(variable string, otherwise ...string) string {
	base, ok := e.getenv(variable)
	if !ok || base == "" {
		base = filepath.Join(append([]string{e.home()}, otherwise...)...)
	}
	return filepath.Join(base, "fleetctl")
}

// settingsFile is where fleetctl's own settings are.
func (e environment) settingsFile() string {
	if path, ok := e.getenv("FLEETCTL_SETTINGS"); ok && path != "" {
		return path
	}
	return filepath.Join(e.folder("XDG_CONFIG_HOME", ".config"), "config.yaml")
}

// settings reads fleetctl's own settings. No file means no limits, unless FLEETCTL_SETTINGS names one.
func (e environment) settings() (config.Settings, error) {
	path := e.settingsFile()
	s, err := config.LoadSettings(path)
	if _, named := e.getenv("FLEETCTL_SETTINGS"); errors.Is(err, fs.ErrNotExist) && !named {
		return config.Settings{}, nil
	}
	if err != nil {
		return s, usage(err, "fix "+path+", or name another with FLEETCTL_SETTINGS")
	}
	return s, nil
}

// runsFolder is where the runs' records are; dir is the value of --state-dir.
func (e environment) runsFolder(dir string) string {
	if named, _ := e.getenv("FLEETCTL_STATE_DIR"); dir == "" {
		dir = named
	}
	if dir == "" {
		dir = e.folder("XDG_STATE_HOME", ".local", "state")
	}
	return filepath.Join(dir, "runs")
}

// fleetOptions are the way to the fleet, as flags and environment have it.
func (a *app) fleetOptions() fleet.Options {
	return fleet.Options{
		ConfigFile: a.flags.config, Site: a.flags.site, Getenv: a.env.getenv, Home: a.env.home(), Stdin: a.io.in, Settings: a.env.settings,
		ConnectTimeout: a.flags.connectTimeout.d, InsecureBroker: a.flags.insecureBroker, AllowUnsigned: a.flags.allowUnsigned,
		CacheDir: a.env.folder("XDG_CACHE_HOME", ".cache"), SignerCA: a.flags.signerCA, InsecureSigner: a.flags.insecureSigner, Federations: a.flags.federations,
		Logger: a.logger(), Tell: func(line string) { a.say("%s", line) },
		Expect: a.effort.expect, Dialing: a.effort.dialing,
	}
}

// hostName is this machine's, "" where it has none.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
