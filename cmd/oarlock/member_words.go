package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
)

// namedChange is one server with what is to become of it, as it was written.
type namedChange struct {
	verb    memberVerb
	id      raft.ServerID
	address string // of `ID@HOST:PORT`, and of `address ID HOST:PORT`
}

// changes reads words like: add 4 5@10.0.0.5:4501 remove 1 address 2 10.0.0.2:4501.
func (g *groupCall) changes(words []string) ([]raft.Change, error) {
	named, err := namedChanges(words)
	if err == nil {
		err = g.f.fit(named)
	}
	if err != nil {
		return nil, withCode(exitUsage, err)
	}
	var list []raft.Change
	for _, n := range named {
		c := raft.Change{Kind: n.verb.kind, Member: raft.Member{ID: n.id, Address: n.address}}
		if n.verb.newcomer {
			if c.Member, err = g.newcomer(n); err != nil {
				return nil, err
			}
		}
		if n.verb.kind == raft.ChangeAddress {
			if err := g.moves(n); err != nil {
				return nil, err
			}
		}
		if n.verb.kind == raft.ChangeAddVoter && g.f.learner {
			c.Kind = raft.ChangeAddLearner
		}
		list = append(list, c)
	}
	return list, nil
}

func namedChanges(words []string) (list []namedChange, err error) {
	verb := memberVerb{}
	for i := 0; i < len(words); i++ {
		if k := slices.IndexFunc(memberVerbs, func(v memberVerb) bool { return v.word == words[i] }); k >= 0 {
			verb = memberVerbs[k]
			continue
		}
		if verb.word == "" {
			return nil, fmt.Errorf("CHANGE begins with %q, which is none of: add, remove, promote, demote, replace, address", words[i])
		}
		n := namedChange{verb: verb}
		id, at := words[i], ""
		if verb.newcomer {
			id, at, _ = strings.Cut(words[i], "@")
		}
		if n.id, err = parseServer(id); err != nil {
			return nil, err
		}
		if at != "" || id != words[i] {
			if err := config.CheckAddress(at); err != nil {
				return nil, fmt.Errorf("%q: what follows the @ is no HOST:PORT, where the other servers reach server %d: %w", words[i], n.id, err)
			}
			n.address = at
		}
		if verb.kind == raft.ChangeAddress {
			if i++; i == len(words) {
				return nil, fmt.Errorf("ADDRESS is missing: where do the others reach server %d?", n.id)
			}
			n.address = words[i]
			if err := config.CheckAddress(n.address); err != nil {
				return nil, fmt.Errorf("ADDRESS of server %d: %w", n.id, err)
			}
		}
		list = append(list, n)
	}
	if len(list) == 0 {
		return nil, errors.New("no server is named")
	}
	return list, nil
}

// fit refuses flags that say nothing of what was written, or not of which of the servers.
func (f *memberFlags) fit(named []namedChange) error {
	added, newcomers := 0, []namedChange(nil)
	for _, n := range named {
		if n.verb.newcomer {
			newcomers = append(newcomers, n)
		}
		if n.verb.kind == raft.ChangeAddVoter {
			added++
		}
	}
	if f.learner && added == 0 {
		return errors.New("--learner is for servers that are added, and none is")
	}
	for _, flag := range []struct{ name, value string }{{"--store", f.store}, {"--address", f.address}} {
		switch {
		case flag.value == "" || len(newcomers) == 1:
		case len(newcomers) == 0:
			return fmt.Errorf("%s is for a server that is added or replaced, and none is", flag.name)
		default:
			return fmt.Errorf("%s is for one server, and %d are named; leave it out, so that they are asked (ID@HOST:PORT says where), or name them one by one", flag.name, len(newcomers))
		}
	}
	if f.address != "" {
		if err := config.CheckAddress(f.address); err != nil {
			return fmt.Errorf("--address: %w", err)
		}
	}
	if f.address != "" && newcomers[0].address != "" {
		return fmt.Errorf("server %d has two addresses: %s behind its id, and --address %s", newcomers[0].id, newcomers[0].address, f.address)
	}
	return nil
}

// parseServer reads the id of a server.
func parseServer(word string) (raft.ServerID, error) {
	id, err := strconv.ParseUint(word, 10, 64)
	if err != nil || id == 0 {
		return 0, withCode(exitUsage, fmt.Errorf("ID %q is not the number of a server", word))
	}
	return raft.ServerID(id), nil
}

// newcomer says what the group has to know of a server that it does not know yet: it is asked, so that it is certain to run.
func (g *groupCall) newcomer(n namedChange) (raft.Member, error) {
	m := raft.Member{ID: n.id, Address: cmp.Or(n.address, g.f.address)}
	in, err := g.conf.Member(n.id)
	if err != nil && m.Address == "" {
		return m, withCode(exitUsage, fmt.Errorf("%w; name it with its address, %d@HOST:PORT, or add it to the file, as `oarlock join` does", err, n.id))
	}
	m.Address = cmp.Or(m.Address, in.Address)
	door := cmp.Or(in.ClientAddress, m.Address)
	if g.f.store != "" {
		if m.Store, err = raft.ParseStoreID(g.f.store); err != nil {
			return m, withCode(exitUsage, fmt.Errorf("--store: %w", err))
		}
		// It need not run. But if somebody else answers there, the address is wrong.
		status, err := askAddress(g.conf, door, min(g.f.timeout, probeTimeout))
		if err == nil || errors.Is(err, client.ErrCluster) {
			return m, wrongServer(n.id, door, status, err)
		}
		return m, nil
	}
	status, err := g.there(n.id, m.Address, in.ClientAddress, "name its --store")
	if err != nil {
		return m, err
	}
	if c, ok := groupOf(status); ok && c.LostData {
		return m, g.lostData(n, status.Store)
	}
	m.Store = status.Store
	return m, nil
}

// wrongServer is an error if what was answered at an address, or refused, shows that another server is there.
func wrongServer(id raft.ServerID, door string, status client.Status, err error) error {
	switch {
	case errors.Is(err, client.ErrCluster):
		return fmt.Errorf("the server at %s belongs to another cluster, so it is not server %d; correct the address (%w)", door, id, err)
	case err == nil && status.Server != id:
		return fmt.Errorf("server %d answers at %s, and not server %d; correct the address, or the id", status.Server, door, id)
	}
	return nil
}

// lostData refuses a store that counts for nothing under any leader: none would ever hear of it.
func (g *groupCall) lostData(n namedChange, store raft.StoreID) error {
	what := "a store that has lost data and counts for nothing"
	if n.verb.kind == raft.ChangeReplace {
		what = "the very store that is to be replaced: it has lost data and counts for nothing"
	}
	return fmt.Errorf("server %d runs on %s (store %s); nothing was changed. Stop it, move its data directory away, `oarlock join %s %d`, start it, and ask again",
		n.id, what, store, g.conf.Path(), n.id)
}

// there asks whether a server runs where others are to reach it, or at its port for clients, and returns what it says of itself. otherwise is
// what helps where it cannot be asked.
func (g *groupCall) there(id raft.ServerID, address, forClients, otherwise string) (client.Status, error) {
	door := cmp.Or(forClients, address)
	status, err := askAddress(g.conf, door, min(g.f.timeout, 5*time.Second))
	switch wrong := wrongServer(id, door, status, err); {
	case wrong != nil:
		return status, wrong
	case err != nil && g.conf.TLS.Enabled() && forClients == "":
		return status, fmt.Errorf("server %d does not answer at %s: %w; with TLS it answers at its client_address, which the file has to say, or %s", id, door, err, otherwise)
	case err != nil:
		return status, fmt.Errorf("server %d does not answer at %s: %w; start it (`oarlock node %s %d`), or %s", id, door, err, g.conf.Path(), id, otherwise)
	}
	return status, nil
}

// moves sees that no other member has the address that a server is to have now, and that the server answers there, unless that is forced.
func (g *groupCall) moves(n namedChange) error {
	if err := g.await(); err != nil {
		return err
	}
	at, err := g.client.Members(g.ctx)
	if err != nil {
		return err
	}
	own, known := at.Membership.Member(n.id)
	for _, m := range at.Membership.Members() {
		if m.Address == n.address && m.ID != n.id {
			return fmt.Errorf("%s is the address of server %d already; server %d is reached elsewhere", n.address, m.ID, n.id)
		}
	}
	if g.f.force || !known || own.Address == n.address { // what is so already, or no member, the leader says
		return nil
	}
	in, _ := g.conf.Member(n.id) // who is not in the file has no port for clients in it
	status, err := g.there(n.id, n.address, in.ClientAddress, "--force the change if it cannot be asked from here")
	if err == nil && status.Store != own.Store {
		err = fmt.Errorf("the server %d that answers at %s runs on store %s, and the member has store %s; `oarlock member replace` is for a server that lost its disk",
			n.id, n.address, status.Store, own.Store)
	}
	return err
}
