package main

import (
	"cmp"
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
	conf, file, err := joinConfig(path, raft.ServerID(id), f)
	if err != nil {
		return err
	}
	m, err := conf.Member(raft.ServerID(id))
	if err == nil {
		err = formatJoining(conf, m)
	}
	if err != nil {
		if kept := file.takeBack(); kept != nil {
			err = fmt.Errorf("%w (and member %d stays in %s: %w; take it out by hand before you repeat the command)", err, id, path, kept)
		}
		return err
	}
	if file.did != "" {
		fmt.Println(file.did)
	}
	fmt.Printf("formatted server %d in %s; it is not a member yet\n", m.ID, conf.DataDir(m))
	fmt.Printf("start it: oarlock node %s %d\n", path, m.ID)
	if file.known {
		fmt.Printf("then give it its place: oarlock member replace %s %d\n", path, m.ID)
		fmt.Printf("or, if it never was a member: oarlock member add %s %d\n", path, m.ID)
	} else {
		fmt.Printf("then add it: oarlock member add %s %d\n", path, m.ID)
	}
	fmt.Printf("on a machine whose file does not have it, it is named %d@%s\n", m.ID, m.Address)
	return nil
}

// formatJoining makes the store.
func formatJoining(conf *config.Config, m config.Member) error {
	err := conf.FormatJoining(m.ID)
	if errors.Is(err, persistentlog.ErrFormatted) {
		err = fmt.Errorf("%w; nothing was formatted, and the file is as it was. If this is what is left of the server's lost disk, move it away first; "+
			"if it is another server's, it is the wrong data directory", err)
	}
	if err != nil {
		return fmt.Errorf("server %d: %w", m.ID, err)
	}
	return nil
}

// refuseRunning refuses the id of a server that answers at its address: two servers with one id would be in each other's way.
func refuseRunning(conf *config.Config, id raft.ServerID, address string, timeout time.Duration) error {
	status, err := askAddress(conf, address, min(timeout, probeTimeout))
	if err == nil && status.Server == id {
		return fmt.Errorf("server %d runs already, and answers at %s; a new server needs another id, that no server ever had. If the disk of server %d is lost, stop it first", id, address, id)
	}
	return nil // nobody of that id is there, which is what is to be found out
}

// joinFile is what a join has done to the config. One that fails takes it back, so that it can be repeated in other words.
type joinFile struct {
	path  string
	known bool   // the server was a member before, of the file or of the cluster
	did   string // what was done, in words; empty: nothing
	fresh bool   // the file was not there
	// How long the file was, and is.
	before, after int64
}

// takeBack undoes what was done, if nobody has changed the file since.
func (j joinFile) takeBack() error {
	if j.did == "" {
		return nil
	}
	file, err := os.OpenFile(j.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case info.Size() != j.after:
		err = errors.New("somebody else has changed the file meanwhile")
	case !j.fresh:
		err = errors.Join(file.Truncate(j.before), file.Sync())
	}
	err = errors.Join(err, file.Close())
	if err == nil && j.fresh {
		err = os.Remove(j.path)
	}
	return err
}

// joinConfig reads the config, or writes one, and sees to it that the member stands in it.
func joinConfig(path string, id raft.ServerID, f joinFlags) (conf *config.Config, file joinFile, err error) {
	conf, err = config.Load(path)
	if errors.Is(err, os.ErrNotExist) {
		if f.from == "" {
			return nil, file, withCode(exitUsage, fmt.Errorf("%w; copy the cluster's config here, or name a running server with --from", err))
		}
		return newJoinConfig(path, id, f)
	}
	if err != nil {
		if f.from != "" {
			err = fmt.Errorf("%w; if a join was interrupted while it wrote the file, remove it and repeat the command", err)
		}
		return nil, file, withCode(exitUsage, err)
	}
	m, absent := conf.Member(id)
	switch {
	case absent == nil && f.describes(m): // as it is, too, where a join is repeated that was interrupted
		return conf, joinFile{known: true}, joinAgain(conf, m, f)
	case f.from != "":
		return nil, file, withCode(exitUsage, fmt.Errorf("%s is there already, and --from is for a new file; %s", path, useOrRemove))
	case absent == nil:
		return nil, file, withCode(exitUsage, fmt.Errorf("%s has a member %d already and says where it is; leave out --address, --listen, --client-address and --data, or edit the file", path, id))
	case f.address == "":
		return nil, file, withCode(exitUsage, fmt.Errorf("%s has no member %d; name its --address and it is added", path, id))
	}
	m = f.member(conf, id)
	if err := refuseRunning(conf, id, cmp.Or(m.ClientAddress, m.Address), f.timeout); err != nil {
		return nil, file, err
	}
	file.path, file.did = path, fmt.Sprintf("added member %d at %s to %s", id, m.Address, path)
	if file.before, err = fileSize(path); err != nil {
		return nil, file, err
	}
	if err := conf.AddMember(m); err != nil {
		return nil, file, withCode(exitUsage, err)
	}
	file.after, err = fileSize(path)
	return conf, file, err
}

// useOrRemove is the way out for one who names a server to take the file from, where there is a file.
const useOrRemove = "leave out --from to join with what it says, or remove it if no server was started with it"

// joinAgain checks what the flags say of a member that the file has.
func joinAgain(conf *config.Config, m config.Member, f joinFlags) error {
	if f.from != "" {
		if _, err := askAddress(conf, f.from, f.timeout); err != nil {
			return fmt.Errorf("%s is there already, and asking %s whether it is of the same cluster: %w; %s", conf.Path(), f.from, err, useOrRemove)
		}
	}
	if hasStore(conf, m) {
		return nil // formatting says so
	}
	return refuseRunning(conf, m.ID, conf.ClientAddresses()[m.ID], f.timeout)
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// newJoinConfig writes a config with what a running server says.
func newJoinConfig(path string, id raft.ServerID, f joinFlags) (*config.Config, joinFile, error) {
	file := joinFile{path: path, fresh: true}
	conf, err := configFrom(f)
	if err != nil {
		return nil, file, err
	}
	if old, err := conf.Member(id); err == nil {
		for _, address := range []string{f.from, old.Address, cmp.Or(f.clientAddress, f.address, old.Address)} {
			if err := refuseRunning(conf, id, address, f.timeout); err != nil {
				return nil, file, err
			}
		}
		file.known = true
		f.address = cmp.Or(f.address, old.Address)
	}
	if f.address == "" {
		return nil, file, withCode(exitUsage, fmt.Errorf("the server at %s knows no member %d; name its --address", f.from, id))
	}
	conf.Members = append(withoutMember(conf.Members, id), f.member(conf, id))
	if err := conf.Validate(); err != nil {
		return nil, file, withCode(exitUsage, err)
	}
	if err := conf.Write(path); err != nil {
		return nil, file, err
	}
	file.did = fmt.Sprintf("wrote %s: cluster %s, %d members", path, conf.Cluster, len(conf.Members))
	file.after, err = fileSize(path)
	return conf, file, err
}

// describes says that a member is what the flags make of it, or that they say nothing of it.
func (f joinFlags) describes(m config.Member) bool {
	same := func(flag, value string) bool { return flag == "" || flag == value }
	return same(f.address, m.Address) && same(f.listen, m.Listen) && same(f.clientAddress, m.ClientAddress) && same(f.data, m.Data)
}

// member is the server that the flags describe. Without --data its data is beside the others', where the file has them.
func (f joinFlags) member(conf *config.Config, id raft.ServerID) config.Member {
	data := f.data
	if data == "" {
		data = filepath.Join(filepath.Dir(conf.Members[0].Data), strconv.FormatUint(uint64(id), 10))
	}
	return config.Member{ID: id, Address: f.address, Listen: f.listen, ClientAddress: f.clientAddress, Data: data}
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
