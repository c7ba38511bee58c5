package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// leaveOutInit is the way out for one who formats what is formatted.
const leaveOutInit = "nothing was changed; leave out --init to start what is there"

func newNode() *cobra.Command {
	var format bool
	c := &cobra.Command{
		Use:   "node CONFIG INDEX",
		Short: "Run one member of a cluster as this process",
		Long: "Runs the member of CONFIG whose id is INDEX, with the key-value store as its state machine, until SIGINT or\n" +
			"SIGTERM. The members of an application of your own are run by its program, not by this one.\n\n" +
			"Exit status 3 means that its store or its state machine failed and it stopped itself.",
		Args: args("CONFIG", "INDEX"),
		RunE: func(c *cobra.Command, a []string) error {
			conf, err := loadConfig(a[0])
			if err != nil {
				return err
			}
			m, err := memberOf(conf, a[1])
			if err != nil {
				return err
			}
			if format {
				if err := formatFirst(conf, []config.Member{m}); err != nil {
					return err
				}
			}
			ctx, stop := signalContext(c.Context())
			defer stop()
			return runMembers(ctx, conf, []config.Member{m})
		},
	}
	c.Flags().BoolVar(&format, "init", false, "format the data directory first, which must not hold a store")
	return c
}

func newCluster() *cobra.Command {
	var format bool
	c := &cobra.Command{
		Use:   "cluster CONFIG N",
		Short: "Run the first N members of a cluster in this one process",
		Long: "Runs the first N members of CONFIG in one process, each with its own data directory and listener: for trying\n" +
			"things out. One process is one point of failure, so it is no way to keep data.",
		Args: args("CONFIG", "N"),
		RunE: func(c *cobra.Command, a []string) error {
			conf, err := loadConfig(a[0])
			if err != nil {
				return err
			}
			n, err := strconv.Atoi(a[1])
			if err != nil || n < 1 || n > len(conf.Members) {
				return withCode(exitUsage, fmt.Errorf("N %q is not a number from 1 to %d: how many members of %s are to run", a[1], len(conf.Members), a[0]))
			}
			if format {
				if err := formatFirst(conf, conf.Members[:n]); err != nil {
					return err
				}
			}
			ctx, stop := signalContext(c.Context())
			defer stop()
			return runMembers(ctx, conf, conf.Members[:n])
		},
	}
	c.Flags().BoolVar(&format, "init", false, "format the data directories first")
	return c
}

// formatFirst is what --init does.
func formatFirst(conf *config.Config, members []config.Member) error {
	if err := refuseLost(conf, members, false); err != nil {
		return err
	}
	return formatMembers(conf, members, leaveOutInit)
}

// signalContext ends with SIGINT or SIGTERM. A second signal ends the process as if nobody had listened.
func signalContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

func newLogger() (*slog.Logger, error) {
	levels, err := config.LevelsFromEnvironment()
	if err == nil {
		err = levels.Check("raft", "server", "tcp", "pebble", "seglog")
	}
	if err != nil {
		return nil, withCode(exitUsage, err)
	}
	return slog.New(levels.Handler(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))), nil
}

// runMembers runs servers until ctx ends or one of them stops itself.
func runMembers(ctx context.Context, conf *config.Config, members []config.Member) (err error) {
	logger, err := newLogger()
	if err != nil {
		return err
	}
	config.OwnProcess()
	var servers []*config.Server
	defer func() {
		for _, s := range servers {
			if e := s.Close(); e != nil && err == nil {
				err = fmt.Errorf("closing server %d: %w", s.Member.ID, e)
			}
		}
	}()
	failed := make(chan error, len(members))
	for _, m := range members {
		named := logger
		if len(members) > 1 {
			named = logger.With("member", m.ID)
		}
		s, err := conf.OpenServer(m.ID, kv.New(), named)
		if errors.Is(err, persistentlog.ErrNotFormatted) {
			err = notFormatted(conf, m)
		}
		if err != nil {
			return withCode(openCode(err), fmt.Errorf("server %d: %w", m.ID, err))
		}
		servers = append(servers, s)
		go func() {
			<-s.Done()
			if err := s.Err(); !errors.Is(err, server.ErrClosed) {
				failed <- fmt.Errorf("server %d stopped itself: %w", m.ID, err)
			}
		}()
		fmt.Printf("server %d of cluster %s at %s, data in %s\n", m.ID, conf.Cluster, m.Address, conf.DataDir(m))
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return withCode(exitStorage, err)
	}
}
