// Command oarlock runs the servers of a replicated key-value store, and talks to them.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
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
		fmt.Fprintln(os.Stderr, "oarlock:", err)
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
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return withCode(exitUsage, err) })
	addTLSFlags(root)
	root.AddCommand(newInit(), newNode(), newCluster(), newStatus(), newKV(), newDemo())
	return root
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
