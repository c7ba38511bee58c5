package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// joinFlags describe the server that joins.
type joinFlags struct {
	from, address, listen, clientAddress, data string
	timeout                                    time.Duration
}

func newJoin() *cobra.Command {
	var f joinFlags
	c := &cobra.Command{
		Use:   "join CONFIG ID",
		Short: "Format a data directory for a server that joins a running cluster",
		Long: "Formats the data directory of server ID for a cluster that exists: as a new member, or in the place of one whose\n" +
			"disk was lost, under the same id. It is not a member yet: `oarlock node` starts it, and then `oarlock member add`,\n" +
			"or `oarlock member replace`, gives it its place.\n\n" +
			"If CONFIG has no member ID, it is added to the file: name its --address. If there is no such file, --from names a\n" +
			"running server, and the file is written with what that one says: the cluster's id and its members.",
		Args: args("CONFIG", "ID"),
		RunE: func(_ *cobra.Command, a []string) error { return join(a[0], a[1], f) },
	}
	c.Flags().StringVar(&f.from, "from", "", "a running server, host:port, where CONFIG does not exist yet")
	c.Flags().StringVar(&f.address, "address", "", "where the other servers will reach the new one, host:port")
	c.Flags().StringVar(&f.listen, "listen", "", "what it listens on, if that is not its address")
	c.Flags().StringVar(&f.clientAddress, "client-address", "", "a listener of its own for clients")
	c.Flags().StringVar(&f.data, "data", "", "its data directory, relative to CONFIG (default: beside the other members')")
	c.Flags().DurationVar(&f.timeout, "timeout", 10*time.Second, "how long to try to reach the server of --from")
	return c
}

func join(path, word string, f joinFlags) error {
	id, err := strconv.ParseUint(word, 10, 64)
	if err != nil || id == 0 {
		return withCode(exitUsage, fmt.Errorf("ID %q is not a number from 1 on: it is the new server's, and no other server's, ever", word))
	}
	conf, known, err := joinConfig(path, raft.ServerID(id), f)
	if err != nil {
		return err
	}
	m, err := conf.Member(raft.ServerID(id))
	if err != nil {
		return withCode(exitUsage, err)
	}
	if err := conf.FormatJoining(m.ID); err != nil {
		if errors.Is(err, persistentlog.ErrFormatted) {
			err = fmt.Errorf("%w; nothing was formatted. If the server's disk was lost and this is what is left of it, move it away first", err)
		}
		return fmt.Errorf("server %d: %w", m.ID, err)
	}
	fmt.Printf("formatted server %d in %s; it is not a member yet\n", m.ID, conf.DataDir(m))
	fmt.Printf("start it: oarlock node %s %d\n", path, m.ID)
	if known {
		fmt.Printf("then give it its place: oarlock member replace %s %d\n", path, m.ID)
		fmt.Printf("or, if it never was a member: oarlock member add %s %d\n", path, m.ID)
	} else {
		fmt.Printf("then add it: oarlock member add %s %d\n", path, m.ID)
	}
	fmt.Printf("on a machine whose file does not have it, it is named %d@%s\n", m.ID, m.Address)
	return nil
}

// joinConfig reads the config, or writes one, and sees to it that the member stands in it; known says that it did before.
func joinConfig(path string, id raft.ServerID, f joinFlags) (conf *config.Config, known bool, err error) {
	conf, err = config.Load(path)
	missing := errors.Is(err, os.ErrNotExist)
	switch {
	case missing && f.from == "":
		return nil, false, withCode(exitUsage, fmt.Errorf("%w; copy the cluster's config here, or name a running server with --from", err))
	case missing:
		if conf, err = configFrom(f); err != nil {
			return nil, false, err
		}
	case err != nil:
		return nil, false, withCode(exitUsage, err)
	case f.from != "":
		return nil, false, withCode(exitUsage, fmt.Errorf("%s is there already; --from is for a new file", path))
	}
	if _, err := conf.Member(id); err == nil && !missing {
		if f.address+f.listen+f.clientAddress+f.data != "" {
			return nil, false, withCode(exitUsage, fmt.Errorf("%s has a member %d already and says where it is; leave out --address, --listen, --client-address and --data, or edit the file", path, id))
		}
		return conf, true, nil
	}
	if f.address == "" {
		return nil, false, withCode(exitUsage, fmt.Errorf("%s has no member %d; name its --address and it is added", path, id))
	}
	m := config.Member{ID: id, Address: f.address, Listen: f.listen, ClientAddress: f.clientAddress, Data: f.data}
	if m.Data == "" {
		// Beside the others', where the file has them.
		m.Data = filepath.Join(filepath.Dir(conf.Members[0].Data), strconv.FormatUint(uint64(id), 10))
	}
	if missing {
		_, err := conf.Member(id)
		known = err == nil
		conf.Members = append(withoutMember(conf.Members, id), m)
		if err := conf.Validate(); err != nil {
			return nil, false, withCode(exitUsage, err)
		}
		if err := conf.Write(path); err != nil {
			return nil, false, err
		}
		fmt.Printf("wrote %s: cluster %s, %d members\n", path, conf.Cluster, len(conf.Members))
		return conf, known, nil
	}
	if err := conf.AddMember(m); err != nil {
		return nil, false, withCode(exitUsage, err)
	}
	fmt.Printf("added member %d at %s to %s\n", id, m.Address, path)
	return conf, known, nil
}

func withoutMember(members []config.Member, id raft.ServerID) []config.Member {
	var kept []config.Member
	for _, m := range members {
		if m.ID != id {
			kept = append(kept, m)
		}
	}
	return kept
}

// configFrom asks a running server what a file about its cluster says.
func configFrom(f joinFlags) (*config.Config, error) {
	conf := config.Default()
	status, err := askAddress(conf, f.from, f.timeout)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", f.from, err)
	}
	conf.Cluster = status.Cluster
	for _, g := range status.Groups {
		if g.Group != raft.DefaultGroup {
			continue
		}
		for _, m := range g.Membership.Membership.Members() {
			data := filepath.Join("data", strconv.FormatUint(uint64(m.ID), 10))
			conf.Members = append(withoutMember(conf.Members, m.ID), config.Member{ID: m.ID, Address: m.Address, Data: data})
		}
	}
	if len(conf.Members) == 0 {
		return nil, fmt.Errorf("asking %s: server %d knows of no members: it joins a cluster itself, or its group is not born", f.from, status.Server)
	}
	return conf, nil
}
