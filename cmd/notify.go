package cmd

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"

	"fleetctl/internal/config"
	"fleetctl/internal/report"
	"fleetctl/internal/run"
	"fleetctl/internal/secret"
)

// onEventFlag names a command that the run is not about, and that may hold the key of a webhook: it is not recorded.
const onEventFlag = "on-event"

// noEvents as the flag's value is no command, whatever the settings say.
const noEvents = "none"

// newNotifier returns the notifier that runs the operator's command, where there is one: the flag's, else the settings'.
func newNotifier(ctx context.Context, a *app, o *reqOptions, s config.Settings, file string, next run.Reporter) *report.Notifier {
	command, changing := s.OnEvent, true
	if o.flags != nil && o.flags.Changed(onEventFlag) {
		command, changing = o.onEvent, false
	}
	if command == noEvents {
		command = ""
	}
	return report.NewNotifier(ctx, next, report.NotifierOptions{
		Command: command, Changing: changing, Env: childEnvironment(o, s, file), Scrub: a.scrub.Text, Code: resultCode,
	})
}

// childEnvironment is the environment of the commands that are started for the operator: a fleetctl among them acts on the same
// fleet, and no variable is secret by its name.
func childEnvironment(o *reqOptions, s config.Settings, file string) []string {
	ours := map[string]string{"FLEETCTL_CONFIG": file, "FLEETCTL_SITE": s.Site, "FLEETCTL_STATE_DIR": o.record.dir}
	env := slices.DeleteFunc(secret.Environment(os.Environ()), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return ours[name] != ""
	})
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		if value := ours[name]; value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}
