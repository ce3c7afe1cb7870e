package cmd

import (
	"context"
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
	ours := map[string]string{"FLEETCTL_CONFIG": file}
	if o.record.dir != "" {
		ours["FLEETCTL_STATE_DIR"] = o.record.dir
	}
	env := slices.DeleteFunc(secret.Environment(os.Environ()), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return ours[name] != ""
	})
	for name, value := range ours {
		env = append(env, name+"="+value)
	}
	return report.NewNotifier(ctx, next, report.NotifierOptions{
		Command: command, Changing: changing, Env: env, Scrub: a.scrub.Text, Code: resultCode,
	})
}
