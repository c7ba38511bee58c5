package server

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// builtBlock is a block whose entries are laid and whose header the Node has still to dictate.
type builtBlock struct {
	first raft.Index
	buf   []byte
}

// ownBlock is what a leader has appended and no quorum has confirmed.
type ownBlock struct {
	next  raft.Index
	bytes int64
}

func (r *Replica) countOwn(bytes int64) {
	if bytes != 0 {
		r.ownBytes += bytes
		r.bounds.uncommitted.add(bytes)
		r.shared.bounds.uncommitted.add(bytes)
	}
}

func (r *Replica) ownAppended(meta raft.BlockMeta, bytes int) {
	r.ownNext = meta.First + raft.Index(meta.Count)
	r.own = append(r.own, ownBlock{next: r.ownNext, bytes: int64(bytes)})
	r.countOwn(int64(bytes))
}

// Holds reports whether proposals do better to wait for the next turn that something else brings about: the latest own
// block is still on its way to this disk, so a new one could not be durable before the next sync anyway, and until that
// begins more may arrive to share it. It is paced by this disk and not by the answers of the followers, so that a long
// way to them costs nothing; and a block that is committed holds nobody up, so that a slow disk costs nothing either.
func (r *Replica) Holds() bool {
	return r.role == raft.RoleLeader && r.fence == nil && r.ownNext > r.tail.saved && r.ownNext > r.commit+1
}

// holdBytesMax is how much may wait: beyond it a sync is busy for longer than a turn costs.
const holdBytesMax = 1 << 20

// entrySize is what an entry of size bytes takes in a block.
func entrySize(size int) int {
	switch {
	case size < 1<<8:
		return size + 2
	case size < 1<<16:
		return size + 3
	}
	return size + 5
}

func commandOf(p *proposal) wire.Command {
	return wire.Command{Session: p.Session, Sequence: p.Sequence, Floor: p.Floor, Command: p.Command}
}

// A block is closed at blockBytesTarget, although one command alone may make it larger: the log, which lays blocks whole
// into tables and moves them about, takes memory in proportion to the largest. And a turn ends with the block that passes
// turnBytesMax, so that its save is one call, and on its way to disk and followers while the rest is still being laid.
const (
	blockBytesTarget = 256 << 10
	turnBytesMax     = persistentlog.SaveBytesMax - blockBytesTarget
)

// propose groups what arrived into blocks: as many commands as go into one. What is too much for a turn is left for the
// next. While leadership is being handed over, proposals are parked.
func (r *Replica) propose(now time.Duration, in *Inputs) {
	if len(r.parked) > 0 && !r.resume {
		r.park(in)
		return
	}
	r.unpark(in)
	blockBytesMax := min(r.shared.options.BlockBytesMax, blockBytesTarget)
	for turn := 0; in.proposed < len(in.proposals) && (turn < turnBytesMax || !in.mayLeave); {
		ps := in.proposals[in.proposed:]
		n, bytes := 1, raft.BlockHeaderSize
		if ps[0].Kind == raft.KindCommand {
			n = 0
			for ; n < len(ps) && ps[n].Kind == raft.KindCommand; n++ {
				size := entrySize(commandOf(&ps[n]).Size())
				if n > 0 && bytes+size > blockBytesMax {
					break
				}
				bytes += size
			}
		} else {
			bytes += entrySize(len(wire.AppendSessionEntry(nil, sessionEntryOf(&ps[0]))))
		}
		first, err := r.offer(now, ps[0].Kind, n, bytes)
		if errors.Is(err, raft.ErrTransferring) {
			r.park(in)
			return
		}
		in.proposed += n
		if err != nil {
			err = r.refusal(err)
			for i := range ps[:n] {
				r.answer(ps[i].done, nil, err)
			}
		} else {
			r.build(first, ps[:n], bytes)
			turn += bytes
		}
	}
}

// offer proposes a block to the Node, unless this server's disk is so far behind that what waits for it would pass the
// bound of uncommitted bytes: followers may have committed it all, and it is in memory here all the same.
func (r *Replica) offer(now time.Duration, kind raft.Kind, entries, bytes int) (raft.Index, error) {
	if r.role == raft.RoleLeader {
		if unsaved := r.tail.unsaved(); unsaved > 0 && unsaved+r.builtBytes()+int64(bytes) > r.bounds.uncommitted.Max {
			return 0, raft.ErrUncommittedFull
		}
	}
	return r.node.Propose(now, kind, uint32(entries), bytes)
}

// builtBytes is the size of the blocks that this turn has proposed and that are not in the tail yet.
func (r *Replica) builtBytes() (bytes int64) {
	for k := range r.built {
		bytes += int64(len(r.built[k].buf))
	}
	return bytes
}

// sessionEntryOf is the entry that a proposal of kind session asks for.
func sessionEntryOf(p *proposal) wire.SessionEntry {
	switch {
	case p.Session == 0:
		return wire.SessionEntry{Op: wire.SessionOpen}
	case p.Keep:
		return wire.SessionEntry{Op: wire.SessionKeep, Session: p.Session}
	}
	return wire.SessionEntry{Op: wire.SessionClose, Session: p.Session}
}

// build lays the entries of a block: the only time that they are encoded.
func (r *Replica) build(first raft.Index, ps []proposal, bytes int) {
	buf := make([]byte, raft.BlockHeaderSize, bytes)
	for i := range ps {
		if ps[i].Kind == raft.KindSession {
			buf = raft.AppendEntry(buf, wire.AppendSessionEntry(nil, sessionEntryOf(&ps[i])))
		} else {
			c := commandOf(&ps[i])
			buf = wire.AppendCommand(raft.AppendEntryHeader(buf, c.Size()), c)
		}
		r.fresh = append(r.fresh, waiting{index: first + raft.Index(i), done: ps[i].done})
	}
	r.built = append(r.built, builtBlock{first: first, buf: buf})
}

// refusal is what a client is told of an error of the Node's door: certainly nothing was appended.
func (r *Replica) refusal(err error) error {
	switch {
	case errors.Is(err, raft.ErrUncommittedFull):
		r.bounds.uncommitted.refused.Add(1)
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.Is(err, raft.ErrNotLeader):
		return r.notLeader()
	case errors.Is(err, raft.ErrFault):
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	return fmt.Errorf("%w: %w", ErrBusy, err)
}

func (r *Replica) notLeader() error {
	if r.birth == nil || !r.birth.Complete {
		s := r.node.Status()
		if !s.Born && len(s.BirthMissing) == 0 && len(r.group.Founders) == 0 {
			return fmt.Errorf("%w: server %d joins group %d, and no leader has added it yet", ErrNotReady, r.shared.identity.Server, r.group.ID)
		}
		if !s.Born {
			return fmt.Errorf("%w: group %d waits for its founders %d", ErrNotReady, r.group.ID, s.BirthMissing)
		}
	}
	if m, ok := r.elsewhere(); ok {
		return r.leaderAt(m)
	}
	if r.leader == 0 || r.leader == r.shared.identity.Server {
		return ErrNoLeader
	}
	m, _ := r.membership.Member(r.leader)
	m.ID = r.leader // it may be no member of what is known here
	return r.leaderAt(m)
}

// elsewhere is where a server that is no member any more sends clients: to the voters that it knows of, one after the other. It
// hears of no leader, and one of them does. ok is false at a member.
func (r *Replica) elsewhere() (m raft.Member, ok bool) {
	self := r.shared.identity
	_, is := r.membership.Find(self.Server, self.Store)
	if is && !r.orders.removed { // it may have been told that it was removed, and have a log that is older than that
		return raft.Member{}, false
	}
	voters := slices.DeleteFunc(slices.Clone(r.membership.Voters), func(m raft.Member) bool { return m.ID == self.Server && m.Store == self.Store })
	if len(voters) == 0 {
		return raft.Member{}, false
	}
	r.pointed++
	return voters[r.pointed%len(voters)], true
}
