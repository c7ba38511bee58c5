package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// hasStore reports whether a member's data directory holds a store that was formatted to its end (docs/format.md). Where that cannot be
// found out it says no: formatting and opening say what is wrong.
func hasStore(conf *config.Config, m config.Member) bool {
	return isThere(filepath.Join(conf.DataDir(m), "log", "identity"))
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// grown reports whether the file has members that were added after the birth, so that the cluster has run.
func grown(conf *config.Config) bool {
	return slices.ContainsFunc(conf.Members, func(m config.Member) bool { return !m.Founder })
}

// notFormatted says what to do where a member has no store. For a member of a cluster that has run that is never init: a founder which is
// all the founders that there are would found another history.
func notFormatted(conf *config.Config, m config.Member) error {
	err := fmt.Errorf("%w: %s (if the store was there before, see that its disk is mounted)", persistentlog.ErrNotFormatted, conf.DataDir(m))
	join := fmt.Sprintf("`oarlock join %s %d`", conf.Path(), m.ID)
	replace := fmt.Sprintf("`oarlock member replace %s %d`", conf.Path(), m.ID)
	switch {
	case isThere(filepath.Join(conf.DataDir(m), "joined")):
		return fmt.Errorf("%w; a join was interrupted here: repeat it, %s", err, join)
	case !m.Founder:
		return fmt.Errorf("%w; %s formats it for a server that joins; if the server was a member and its disk is lost, start it then, and %s gives it its place", err, join, replace)
	case grown(conf):
		return fmt.Errorf("%w; its disk is lost: %s formats another one, start it then, and %s gives it its place", err, join, replace)
	}
	return fmt.Errorf("%w; if the cluster has run, its disk is lost: %s formats another one, start it then, and %s gives it its place; "+
		"only for a cluster that has never run, `oarlock init %s --member %d` makes a new, empty store", err, join, replace, conf.Path(), m.ID)
}

// refuseLost refuses to make a founder's store where the cluster has run: the server has had one, and has lost it. force passes what the
// file says, and nothing passes what a server says.
func refuseLost(conf *config.Config, members []config.Member, force bool) error {
	members = slices.DeleteFunc(slices.Clone(members), func(m config.Member) bool { return hasStore(conf, m) }) // formatting says so
	if len(members) == 0 || conf.Log.Kind == config.LogMemory {
		return nil
	}
	m := members[0]
	wayOut := fmt.Sprintf("if the disk of server %d is lost: `oarlock join %s %d`, start it, and then `oarlock member replace %s %d`", m.ID, conf.Path(), m.ID, conf.Path(), m.ID)
	if i := slices.IndexFunc(members, func(m config.Member) bool { return !m.Founder }); i >= 0 && !force {
		id := members[i].ID
		return fmt.Errorf("member %d of %s has founder = false: it joins, and `oarlock join %s %d` formats it; nothing was changed", id, conf.Path(), conf.Path(), id)
	}
	if grown(conf) && !force {
		return fmt.Errorf("%s has members with founder = false, so the cluster has run, and a founder that is formatted again could found another one under its name; "+
			"nothing was changed; %s; for a cluster that has never run: `oarlock init` with --force", conf.Path(), wayOut)
	}
	for _, a := range askAll(conf, probeTimeout) {
		if a.err != nil {
			continue // nobody is there, or nobody who may tell
		}
		for _, g := range a.status.Groups {
			if g.Born {
				return fmt.Errorf("server %d answers at %s: the cluster has run%s; nothing was changed; %s",
					a.status.Server, a.address, storeOf(g.Membership.Membership, m.ID), wayOut)
			}
		}
	}
	return nil
}

// storeOf says which store a membership has for a server, as it follows upon "the cluster has run".
func storeOf(m raft.Membership, id raft.ServerID) string {
	for _, one := range m.Members() {
		if one.ID == id {
			return fmt.Sprintf(", and knows server %d with the store %s", id, one.Store)
		}
	}
	return fmt.Sprintf(", and has no member %d now", id)
}
