package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

func newInit() *cobra.Command {
	var members, port int
	var only uint64
	var data string
	var force bool
	c := &cobra.Command{
		Use:   "init CONFIG",
		Short: "Write a config if there is none, and format data directories",
		Long: "Writes CONFIG for a cluster on this machine if there is no such file, and formats the data directories of its\n" +
			"members. Formatting makes a new, empty store, once: a directory that holds one already is left alone.\n" +
			"On several machines, copy the file and run `oarlock init CONFIG --member ID` on each.\n" +
			"For a member of a cluster that has run it is refused: `oarlock join` formats a new disk for one that was lost.",
		Args: args("CONFIG"),
		RunE: func(c *cobra.Command, a []string) error {
			conf, fresh, err := loadOrGenerate(c, a[0], members, data, port)
			if err != nil {
				return err
			}
			chosen := conf.Members
			if only != 0 {
				m, err := conf.Member(raft.ServerID(only))
				if err != nil {
					return withCode(exitUsage, err)
				}
				chosen = []config.Member{m}
			}
			if !fresh { // nobody can know of a cluster that was named just now
				if err := refuseLost(conf, chosen, force); err != nil {
					return err
				}
			}
			wayOut := "nothing was changed"
			if only == 0 {
				wayOut += "; to format another member alone: --member ID"
			}
			if err := formatMembers(conf, chosen, wayOut); err != nil {
				return err
			}
			for _, m := range chosen {
				fmt.Printf("formatted server %d in %s\n", m.ID, conf.DataDir(m))
			}
			fmt.Printf("to serve the key-value store: oarlock node %s %d\n", a[0], chosen[0].ID)
			return nil
		},
	}
	c.Flags().IntVar(&members, "members", 3, "servers in a new config")
	c.Flags().IntVar(&port, "port", 4501, "first port in a new config")
	c.Flags().StringVar(&data, "data", "data", "folder for data directories in a new config, relative to it")
	c.Flags().Uint64Var(&only, "member", 0, "format only the member with this id")
	c.Flags().BoolVar(&force, "force", false, "also if CONFIG has members with founder = false: the cluster has never run all the same")
	return c
}

// loadOrGenerate reads the config, or writes one, which is fresh then.
func loadOrGenerate(c *cobra.Command, path string, members int, data string, port int) (conf *config.Config, fresh bool, err error) {
	conf, err = config.Load(path)
	if !errors.Is(err, os.ErrNotExist) {
		for _, name := range []string{"members", "port", "data"} {
			if err == nil && c.Flags().Changed(name) {
				err = fmt.Errorf("%s is there already and says where its members are; --%s is for a new one", path, name)
			}
		}
		return conf, false, withCode(exitUsage, err)
	}
	if c.Flags().Changed("member") {
		return nil, false, withCode(exitUsage, fmt.Errorf("%s does not exist; --member formats one member of a config that does", path))
	}
	if conf, err = config.Generate(members, data, port); err != nil {
		return nil, false, withCode(exitUsage, err)
	}
	if err := conf.Write(path); err != nil {
		return nil, false, err
	}
	fmt.Printf("wrote %s: cluster %s, %d members on 127.0.0.1 from port %d\n", path, conf.Cluster, members, port)
	return conf, true, nil
}

// formatMembers makes the stores of the given members. If one is there already, that is an error and no store is made.
func formatMembers(c *config.Config, members []config.Member, wayOut string) error {
	// Those that have something are asked first: the refusal then comes before anything was changed.
	order := slices.Clone(members)
	slices.SortStableFunc(order, func(a, b config.Member) int { return cmp.Compare(emptiness(c, a), emptiness(c, b)) })
	for _, m := range order {
		if err := os.MkdirAll(filepath.Dir(c.DataDir(m)), 0o700); err != nil {
			return err
		}
		if err := c.Format(m.ID); err != nil {
			if errors.Is(err, persistentlog.ErrFormatted) {
				return fmt.Errorf("server %d: %w; %s", m.ID, err, wayOut)
			}
			return fmt.Errorf("server %d: %w", m.ID, err)
		}
	}
	return nil
}

// emptiness is 1 for a member without a data directory, or with an empty one.
func emptiness(c *config.Config, m config.Member) int {
	if entries, err := os.ReadDir(c.DataDir(m)); err != nil || len(entries) == 0 {
		return 1
	}
	return 0
}

// memberOf reads INDEX: which member of the file this server is, by its id.
func memberOf(c *config.Config, word string) (config.Member, error) {
	id, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return config.Member{}, withCode(exitUsage, fmt.Errorf("INDEX %q is not a number; it is the id of a member in %s", word, c.Path()))
	}
	m, err := c.Member(raft.ServerID(id))
	return m, withCode(exitUsage, err)
}
