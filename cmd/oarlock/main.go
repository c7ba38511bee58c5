// Command oarlock runs the servers of a replicated key-value store, and talks to them.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/config"
)

// The exit codes. docs/operations.md lists them; scripts may rely on them.
const (
	exitFailed  = 1 // what was asked for did not work; the error says why
	exitUsage   = 2 // wrong words, or a config that cannot be used
	exitStorage = 3 // the server stopped itself: its store or its state machine failed
	exitLost    = 4 // the demo found something lost
)

// exitError carries the exit code of an error.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: code, err: err}
}

func main() {
	root := newRoot()
	if err := root.Execute(); err != nil {
		// An error of the library begins with the same word.
		fmt.Fprintln(os.Stderr, "oarlock:", strings.TrimPrefix(err.Error(), "oarlock: "))
		code := exitFailed
		var coded *exitError
		if errors.As(err, &coded) {
			code = coded.code
		}
		os.Exit(code)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "oarlock",
		Short: "A replicated log that applications plug into",
		Long: "oarlock runs the servers of a replicated key-value store and talks to them. One TOML file describes all\n" +
			"members of a cluster; `oarlock init` writes one, and formats their data directories.\n\n" +
			"OARLOCK_LOG sets what is logged, part by part: OARLOCK_LOG=raft=debug,info",
		Version: version(), SilenceUsage: true, SilenceErrors: true,
		Args: subcommand, RunE: showHelp,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return withCode(exitUsage, err) })
	addTLSFlags(root)
	root.AddCommand(newInit(), newJoin(), newNode(), newCluster(), newStatus(), newMember(), newLeader(), newKV(), newDemo())
	return root
}

// version is that of the module, as the Go command stamped it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// args checks the number of arguments and calls what is missing by its name.
func args(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, given []string) error {
		switch {
		case len(given) < len(names):
			return withCode(exitUsage, fmt.Errorf("%s is missing: %s", names[len(given)], c.UseLine()))
		case len(given) > len(names):
			return withCode(exitUsage, fmt.Errorf("%q is one argument too many: %s", given[len(names)], c.UseLine()))
		}
		return nil
	}
}

// subcommand is the Args of a command that only has others below it.
func subcommand(c *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	hint := fmt.Sprintf("`%s --help` lists what there is", c.CommandPath())
	if c.SuggestionsMinimumDistance == 0 {
		c.SuggestionsMinimumDistance = 2
	}
	if near := c.SuggestionsFor(given[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %q?", near[0])
	}
	return withCode(exitUsage, fmt.Errorf("%s has no command %q; %s", c.CommandPath(), given[0], hint))
}

func showHelp(c *cobra.Command, _ []string) error { return c.Help() }

// loadConfig reads the config that a command was given.
func loadConfig(path string) (*config.Config, error) {
	c, err := config.Load(path)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w (`oarlock init %s` writes a new cluster's config)", err, path)
	}
	return c, withCode(exitUsage, err)
}
