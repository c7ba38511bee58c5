package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/raft"
)

// The only founder of a cluster that has grown is formatted again by the file that it had, in which it is alone: nobody can be asked.
func TestStatusShowsASecondHistoryUnderOneName(t *testing.T) {
	t.Parallel()
	c := startedCluster(t, 1)
	old := filepath.Join(filepath.Dir(c.path), "old.toml")
	require.NoError(t, c.conf.Clone().Write(old))
	c.join(2)
	c.join(3)
	oarlock(t, "member", "add", c.path, "2", "3").succeeds(t)
	store := c.asMember(1).Store
	c.nodes[1].kill()
	c.wipe(1)
	eventually(t, "one of the others leads", func() error {
		_, code := c.notes()
		if code != 0 {
			return fmt.Errorf("exit status %d", code)
		}
		return nil
	})
	full := c.path
	c.path = old
	c.start(1)
	c.path = full
	eventually(t, "status says so", func() error {
		notes, code := c.notes()
		other := notes["2"] + notes["3"]
		if code != exitFailed || !contains(notes["1"], "say that they lead", "server 1 in term", "a stranger", "with the store "+store.String(), "keep its directory") ||
			!contains(other, "say that they lead", "server 1 in term") || strings.Contains(other, "a stranger") {
			return fmt.Errorf("exit status %d, notes %q", code, notes)
		}
		return nil
	})
	oarlock(t, "status", c.path).fails(t, exitFailed, "the servers of "+c.path+" do not agree", "NOTE")
	c.nodes[1].kill()
	notes, code := c.notes()
	require.Zero(t, code)
	require.NotContains(t, notes["2"]+notes["3"], "lead")
}

// told is what a server on a store says, which knows the voters of an entry.
func told(id raft.ServerID, store byte, role raft.Role, term raft.Term, at raft.Index, voters ...raft.Member) askedMember {
	g := client.GroupStatus{Group: raft.DefaultGroup, Role: role.String(), Term: term, Born: true}
	g.Membership = raft.MembershipAt{Index: at, Membership: raft.Membership{Voters: voters}}
	return askedMember{id: id, status: client.Status{Server: id, Store: raft.StoreID{store}, Groups: []client.GroupStatus{g}}}
}

func TestDisputesAreSeenInTheServersThatTheyAreAbout(t *testing.T) {
	one, two, three := raft.Member{ID: 1, Store: raft.StoreID{1}}, raft.Member{ID: 2, Store: raft.StoreID{2}}, raft.Member{ID: 2, Store: raft.StoreID{3}}
	leads, follows := raft.RoleLeader, raft.RoleFollower
	unborn, removed, silent := told(2, 3, follows, 0, 0), told(2, 3, follows, 4, 0, one, three), told(2, 3, leads, 4, 0, one, three)
	unborn.status.Groups[0].Born = false
	removed.status.Groups[0].Removed = true
	silent.err = errors.New("silent")
	for name, c := range map[string]struct {
		answers []askedMember
		notes   map[raft.ServerID]string
	}{
		"all is well":                {[]askedMember{told(1, 1, leads, 4, 0, one, two), told(2, 2, follows, 4, 0, one, two)}, nil},
		"two lead in one term":       {[]askedMember{told(1, 1, leads, 4, 0, one, two), told(2, 2, leads, 4, 0, one, two)}, map[raft.ServerID]string{1: "server 1 in term 4 and server 2 in term 4 say that they lead", 2: "server 1 in term 4 and server 2 in term 4"}},
		"two lead in two terms":      {[]askedMember{told(1, 1, leads, 4, 0, one, two), told(2, 2, leads, 5, 0, one, two)}, map[raft.ServerID]string{1: "server 1 in term 4 and server 2 in term 5", 2: "say that they lead"}},
		"another store serves":       {[]askedMember{told(1, 1, leads, 4, 9, one, two), told(2, 3, follows, 4, 0, three)}, map[raft.ServerID]string{2: "a stranger: server 1 knows server 2 with the store 02000000-"}},
		"the newest membership says": {[]askedMember{told(1, 1, leads, 4, 0, one, two), told(2, 3, follows, 4, 9, one, three)}, nil},
		"a store is being replaced":  {[]askedMember{told(1, 1, leads, 4, 9, one, two, three), told(2, 3, follows, 4, 9, one, two, three)}, nil},
		"another store waits":        {[]askedMember{told(1, 1, leads, 4, 9, one, two), unborn}, nil},
		"a removed one":              {[]askedMember{told(1, 1, leads, 4, 9, one, two), removed}, nil},
		"one does not answer":        {[]askedMember{told(1, 1, leads, 4, 9, one, two), silent}, nil},
	} {
		notes := disputes(c.answers)
		require.Len(t, notes, len(c.notes), "%s: %v", name, notes)
		for id, words := range c.notes {
			require.Contains(t, strings.Join(notes[replicaKey{id, raft.DefaultGroup}], "; "), words, name)
		}
	}
}
