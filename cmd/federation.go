package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"fleetctl/internal/choria"
	"fleetctl/internal/config"
	"fleetctl/internal/proof"
)

func (a *app) addFederations(f *pflag.FlagSet) {
	f.StringSliceVar(&a.flags.federations, "federations", nil, "reach the collectives of these federations, `NAME,...` (CHORIA_FED_COLLECTIVE wins)")
}

// federations are those that are addressed: of the environment, else of the flag, else of the configuration files.
func (a *app) federations(cfg *config.Config) ([]string, error) {
	names := cfg.FederationCollectives // of the environment where that names any
	if env, _ := a.getenv("CHORIA_FED_COLLECTIVE"); env == "" && len(a.flags.federations) > 0 {
		names = a.flags.federations
	}
	var out []string
	for _, name := range names {
		name = strings.TrimSpace(name)
		if err := choria.CheckIdentity(name); err != nil || strings.Contains(name, ".") {
			return nil, usage(fmt.Errorf("%q cannot be the name of a federation", name), "check --federations, CHORIA_FED_COLLECTIVE and plugin.choria.federation.collectives")
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// oneFederation refuses to change anything in several federations: a collective that is in two of them would act twice,
// and a node that has answered for one would count for the other.
func (j *job) oneFederation() error {
	if names := j.network.federations; j.changes() && len(names) > 1 {
		return usage(fmt.Errorf("cannot call %s#%s in %d federations at once (%s): a collective that is in two of them would act twice",
			j.o.agent, j.o.action, len(names), strings.Join(names, ", ")), "name one with --federations, and run the command once for each")
	}
	return nil
}

// federationNotes tell what a plan cannot rely on.
func (j *job) federationNotes() []string {
	if len(j.network.federations) == 0 {
		return nil
	}
	notes := []string{"sent to federation " + strings.Join(j.network.federations, ", ")}
	switch j.proves() {
	case proof.Restart:
		notes = append(notes, "lifecycle events do not cross federations: restarts are proved by polling alone")
	case proof.Reprovision:
		notes = append(notes, "lifecycle events do not cross federations: only nodes that come back provisioned are proved")
	}
	return notes
}

// events are the fleet's lifecycle events, nil where none arrive.
func (j *job) events() proof.Events {
	if len(j.network.federations) > 0 {
		return nil
	}
	return j.network.conn
}
