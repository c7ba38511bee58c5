package server

import (
	"fmt"
	"slices"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// What the consensus module never looks at: where members are reached.

// checkAddress says why the transport cannot use an address; nil where it can, or cannot say.
func (s *Shared) checkAddress(address string) error {
	if c, ok := s.options.Transport.(transport.AddressChecker); ok {
		return c.CheckAddress(address)
	}
	return nil
}

// reached returns a member with an address that can be used: its own or, where the transport cannot use that, the one that this
// server's configuration has for the id. Where there is none it is returned as it is. It may be called from any goroutine.
func (r *Replica) reached(m raft.Member) raft.Member {
	if r.shared.checkAddress(m.Address) == nil {
		return m
	}
	own := []string{r.shared.options.Addresses[m.ID]}
	for _, f := range r.group.Founders {
		if f.ID == m.ID {
			own = append(own, f.Address)
		}
	}
	for _, address := range own {
		if address != "" && r.shared.checkAddress(address) == nil {
			m.Address = address
			break
		}
	}
	return m
}

// leaderAt is a member to which a client is sent.
func (r *Replica) leaderAt(m raft.Member) error {
	return &NotLeaderError{Leader: m.ID, Address: r.reached(m).Address}
}

// refuseAddresses is why a change cannot be made because of an address that it gives to a member; nil where there is another reason, or
// none. What the change does not touch is not looked at: a group may have addresses that nobody checked.
func (r *Replica) refuseAddresses(c raft.MembershipChange) error {
	st := r.node.Status()
	if _, can := r.shared.options.Transport.(transport.AddressChecker); !can || st.Role != raft.RoleLeader || st.Membership.Changing() || st.Membership.Holds(c.Changes) {
		return nil
	}
	after, err := st.Membership.After(c.Changes)
	if err != nil {
		return nil // the consensus module says why
	}
	for _, change := range c.Changes {
		m, ok := after.Member(change.Member.ID)
		if !ok || change.Kind == raft.ChangePromote || change.Kind == raft.ChangeDemote {
			continue
		}
		if err := r.shared.checkAddress(m.Address); err != nil {
			return fmt.Errorf("%w: %s server %d at %q: %w; name the address at which the other servers, and clients, reach it",
				ErrChangeImpossible, change.Kind, m.ID, m.Address, err)
		}
		all := after.Members()
		if k := slices.IndexFunc(all, func(o raft.Member) bool { return o.ID != m.ID && o.Address == m.Address }); k >= 0 {
			return fmt.Errorf("%w: %s server %d at %q: that is the address of server %d; name the one at which server %d is reached, or change the address of server %d first",
				ErrChangeImpossible, change.Kind, m.ID, m.Address, all[k].ID, m.ID, all[k].ID)
		}
	}
	return nil
}
