package main

import (
	"fmt"
	"strings"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/raft"
)

// replicaKey names one server's copy of one group.
type replicaKey struct {
	server raft.ServerID
	group  raft.GroupID
}

// replicaAnswer is what it says, and the store that its server runs on.
type replicaAnswer struct {
	replicaKey
	store raft.StoreID
	said  client.GroupStatus
}

// disputes are the signs of two histories under one name: the notes on the replicas that they are seen in. A server that waits for its
// birth, or to be added, has no history, and one that was removed knows so; they contradict nobody.
func disputes(answers []askedMember) map[replicaKey][]string {
	groups := make(map[raft.GroupID][]replicaAnswer)
	for _, a := range answers {
		for _, g := range a.status.Groups {
			if a.err == nil && g.Born && !g.Removed {
				groups[g.Group] = append(groups[g.Group], replicaAnswer{replicaKey{a.id, g.Group}, a.status.Store, g})
			}
		}
	}
	notes := make(map[replicaKey][]string)
	for _, replicas := range groups {
		twoLeaders(replicas, notes)
		strangers(replicas, notes)
	}
	return notes
}

func twoLeaders(replicas []replicaAnswer, notes map[replicaKey][]string) {
	var leaders []replicaKey
	var named []string
	for _, r := range replicas {
		if r.said.Role == raft.RoleLeader.String() {
			leaders = append(leaders, r.replicaKey)
			named = append(named, fmt.Sprintf("server %d in term %d", r.server, r.said.Term))
		}
	}
	if len(leaders) < 2 {
		return
	}
	for _, r := range leaders {
		notes[r] = append(notes[r], strings.Join(named, " and ")+" say that they lead: if that stays so, there are two histories; stop the one whose store the others do not know, and keep its directory")
	}
}

// strangers finds servers with another store than the newest membership has for them.
func strangers(replicas []replicaAnswer, notes map[replicaKey][]string) {
	var newest replicaAnswer
	for i, r := range replicas {
		if i == 0 || r.said.Membership.Index > newest.said.Membership.Index {
			newest = r
		}
	}
	for _, r := range replicas {
		known, other := false, raft.StoreID{}
		for _, m := range newest.said.Membership.Membership.Members() {
			if m.ID == r.server {
				known = known || m.Store == r.store
				other = m.Store
			}
		}
		if known || other.IsZero() || r.store.IsZero() {
			continue
		}
		notes[r.replicaKey] = append(notes[r.replicaKey], fmt.Sprintf(
			"a stranger: server %d knows server %d with the store %s, and this is %s; stop it, and keep its directory (`oarlock join` and `oarlock member replace` give the server its place back)",
			newest.server, r.server, other, r.store))
	}
}
