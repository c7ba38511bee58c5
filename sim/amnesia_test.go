package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
)

// logged is an image of so many entries of term 1, in a term.
func logged(entries int, hard raft.HardState) image {
	m := newImage()
	for k := range entries {
		m.terms, m.chains = append(m.terms, 1), append(m.chains, uint64(k+100))
	}
	m.hard = hard
	return m
}

// A server may forget without knowing it only what no majority of the others can miss.
func TestAServerMayForgetOnlyWhatEveryMajorityHasElsewhere(t *testing.T) {
	voted, follows := raft.HardState{Term: 2, Vote: 1}, raft.HardState{Term: 2}
	for _, c := range []struct {
		name   string
		since  image
		others []image
		may    bool
	}{
		{"both others have all of it", logged(1, voted), []image{logged(3, voted), logged(3, voted)}, true},
		{"one of them lacks an entry", logged(1, voted), []image{logged(3, voted), logged(2, voted)}, false},
		{"nothing is forgotten", logged(3, voted), []image{logged(1, voted), logged(1, voted)}, true},
		{"a term that is past for all", logged(3, raft.HardState{Term: 1}), []image{logged(3, voted), logged(3, voted)}, true},
		{"a term in which another may still vote", logged(3, raft.HardState{Term: 1}), []image{logged(3, voted), logged(3, follows)}, false},
		{"two of four others lack an entry", logged(1, voted), []image{logged(3, voted), logged(3, voted), logged(2, voted), logged(2, voted)}, false},
		{"one of four others lacks an entry", logged(1, voted), []image{logged(3, voted), logged(3, voted), logged(3, voted), logged(2, voted)}, true},
	} {
		p := NewPlan(1)
		p.Servers, p.Groups = len(c.others)+1, 1
		w := newWorld(p)
		for k := range p.Servers {
			w.addHost(raft.ServerID(k + 1))
		}
		o := w.oracle.groups[0]
		o.mirrors[0].disk = logged(3, voted)
		for k, other := range c.others {
			o.mirrors[k+1].disk = other
		}
		require.Equal(t, c.may, w.hosts[0].mayForget([]image{c.since}), c.name)
		w.hosts[1].gone = errDecayed // what it has counts no more
		require.Equal(t, c.may && c.since.next() == 4, w.hosts[0].mayForget([]image{c.since}), "%s, and one is gone", c.name)
	}
}
