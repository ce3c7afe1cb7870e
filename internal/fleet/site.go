package fleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"fleetctl/internal/config"
)

// siteVariable chooses a site where no flag does.
const siteVariable = "FLEETCTL_SITE"

// SiteName is the site that was chosen; "" for none.
func (o Options) SiteName() string {
	if o.Site != "" {
		return o.Site
	}
	if name, ok := o.Getenv(siteVariable); ok {
		return name
	}
	return ""
}

// Own are our own settings, with the limits of the chosen site. Errors are *UsageError.
func (o Options) Own() (config.Settings, error) {
	all, err := o.Settings()
	if err != nil {
		return config.Settings{}, err
	}
	s, err := all.At(o.SiteName())
	if e, ok := errors.AsType[*config.UnknownSiteError](err); ok {
		return config.Settings{}, usage(err, e.Hint())
	}
	return s, err
}

// ConfigPath is the Choria client configuration that was chosen: of the site, else by flag or environment; "" where none was
// and Choria's own search is to find one. A flag wins over the environment; what means two fleets at once is refused.
// Errors are *UsageError.
func (o Options) ConfigPath() (string, error) {
	variable, _ := o.Getenv("FLEETCTL_CONFIG")
	name := o.SiteName()
	if name == "" {
		if o.ConfigFile != "" {
			return o.ConfigFile, nil
		}
		return variable, nil
	}
	own, err := o.Own()
	if err != nil {
		return "", err
	}
	path := own.Sites[name].Config
	switch {
	case o.ConfigFile != "" && !samePath(o.ConfigFile, path):
		return "", usage(fmt.Errorf("--config %s is not the configuration of site %s, which is %s", o.ConfigFile, name, path), "leave one of them out; a site can also be chosen by "+siteVariable)
	case o.ConfigFile == "" && o.Site == "" && variable != "" && !samePath(variable, path):
		return "", usage(fmt.Errorf("FLEETCTL_CONFIG names %s, and %s=%s means %s", variable, siteVariable, name, path), "unset one of them, or choose with --site or --config")
	}
	return path, nil
}

// samePath reports whether two paths lead to one file, as far as can be seen.
func samePath(a, b string) bool {
	if x, err := filepath.Abs(a); err == nil {
		if y, err := filepath.Abs(b); err == nil && x == y {
			return true
		}
	}
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
