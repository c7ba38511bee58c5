package server

import (
	"context"
	"errors"
	"log/slog"
	"strconv"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
)

// Status is a look at a server. Counters grow from its start.
type Status struct {
	Identity persistentlog.Identity
	Err      error // why replicas have stopped, nil if none has
	Groups   []GroupStatus

	Inbox, Uncommitted, Unapplied BoundStatus // of all groups together
	TailBytes, TailBytesMax       int64

	Saves     uint64 // atomic changes made durable
	SaveCalls uint64 // calls of the log's Save, one sync each
	SaveBytes uint64 // of blocks in them

	StrayMessages uint64 // for groups that are not here
	Transport     transport.Status
}

// GroupStatus is a look at a replica.
type GroupStatus struct {
	raft.Status
	Applied     raft.Index // by the state machine
	Sessions    int64
	Commands    uint64 // executed, in this run
	TailBytes   int64
	Inbox       BoundStatus
	Uncommitted BoundStatus
	Unapplied   BoundStatus
	Reads       ReadCounts
	Lost        uint64 // messages without blocks that found no room
	Refusal     string // why a peer gives this server's messages no effect, in words; empty: none does
	Removed     bool   // this server was a member and is none any more: it goes on running and disturbs nobody
	LostData    bool   // its store lacks what it had acknowledged, or the birth that it had saved: it counts for nothing until another store replaces it
	NoSnapshot  error  // why the state machine cannot be restored from this server
	Fenced      error  // why the replica has stopped for good
}

// Status returns a look at the server. It waits for no disk and no network.
func (s *Server) Status() Status {
	b := &s.shared.bounds
	st := Status{
		Identity: s.shared.identity, Err: s.Err(), Inbox: b.inbox.Status(), Uncommitted: b.uncommitted.Status(),
		Unapplied: b.unapplied.Status(), TailBytes: s.shared.tails.bytes.Load(), TailBytesMax: s.shared.tails.max,
		Saves: s.writer.saves.Load(), SaveCalls: s.writer.calls.Load(), SaveBytes: s.writer.bytes.Load(),
		StrayMessages: s.strays.Load(), Transport: s.options.Transport.Status(),
	}
	for _, g := range s.sorted() {
		st.Groups = append(st.Groups, g.status())
	}
	return st
}

// GroupStatus returns a look at one replica; ok is false where there is none.
func (s *Server) GroupStatus(id raft.GroupID) (st GroupStatus, ok bool) {
	g := s.group(id)
	if g == nil {
		return st, false
	}
	return g.status(), true
}

func (g *group) status() GroupStatus {
	g.turning.Lock()
	st := g.replica.Status()
	g.turning.Unlock()
	g.inbox.mu.Lock()
	st.Lost = g.inbox.lost
	g.inbox.mu.Unlock()
	return st
}

// Status returns a look at the replica.
func (r *Replica) Status() GroupStatus {
	st := GroupStatus{
		Status: r.node.Status(), Applied: raft.Index(r.apply.progress.Load()), Sessions: r.apply.open.Load(),
		Commands: r.apply.applied.Load(), TailBytes: r.tail.bytes, Inbox: r.bounds.inbox.Status(),
		Uncommitted: r.bounds.uncommitted.Status(), Unapplied: r.bounds.unapplied.Status(), NoSnapshot: r.lost, Fenced: r.fence,
		Reads: r.counts.read(),
	}
	// A leader that is to go has to end the change and to hand over first.
	going := st.Refused.Reason == raft.RefusalRemoved && st.Role == raft.RoleLeader
	st.Removed = st.Refused.Reason == raft.RefusalRemoved && !going
	if by := st.Refused.By; by != 0 && !going {
		st.Refusal = refusalText(r.shared.identity.Server, by, st.Refused.Reason)
	}
	st.LostData = st.LostLog || st.Refused.Reason == raft.RefusalLostBirth
	return st
}

// replaceLost is what helps a server whose store has lost data.
const replaceLost = "this store has lost data; to replace it, stop the server, move its data directory away, `oarlock join`, start it, and `oarlock member replace`"

// refusalText says what a refusal means for this server and what helps.
func refusalText(self, by raft.ServerID, why raft.Refusal) string {
	id := func(s raft.ServerID) string { return "server " + strconv.FormatUint(uint64(s), 10) }
	switch why {
	case raft.RefusalLostLog:
		lost := "the log of " + id(self) + " ends below what it acknowledged: " + replaceLost
		if by == self {
			return "it was told before its last start, or its own log says so: " + lost
		}
		return id(by) + " says: " + lost
	case raft.RefusalLostBirth:
		return id(by) + " says: " + id(self) + " has forgotten the group's birth, which it had saved: " + replaceLost
	case raft.RefusalStranger:
		return id(by) + " says: stranger: " + id(self) + " is bound to another store; an old copy must not be put back; replacement is a membership change"
	case raft.RefusalRemoved:
		if by == self {
			return id(self) + " was removed from the group; stop it, and keep its directory until nobody misses it"
		}
		return id(by) + " says: " + id(self) + " was removed from the group; stop it, and keep its directory until nobody misses it"
	}
	return id(by) + " says: " + why.String()
}

// tellRefusal makes trouble known that only an operator can end. A refused server goes on asking, so that each peer's word
// is told once, and again when it changes.
func (r *Replica) tellRefusal(t *raft.Trace) {
	if r.refusals[t.Server] == t.Refusal || t.Refusal == raft.RefusalUnborn && r.birth != nil && r.birth.Complete {
		// A server that joins says so before its leader has told it of the group.
		return
	}
	if r.refusals == nil {
		r.refusals = make(map[raft.ServerID]raft.Refusal)
	}
	r.refusals[t.Server] = t.Refusal
	text := refusalText(r.shared.identity.Server, t.Server, t.Refusal)
	r.event(Event{Kind: EventTrouble, Server: t.Server, Err: errors.New(text)})
}

// Events subscribes to what happens on this server, with room for size events.
func (s *Server) Events(size int) *Subscription { return s.hub.subscribe(size) }

// logEventsMax is how many events wait for the logger.
const logEventsMax = 4096

func (s *Server) startLogger() {
	if s.options.Logger == nil {
		close(s.logged)
		return
	}
	sub := s.hub.subscribe(logEventsMax)
	log := s.options.Logger.With("server", uint64(s.shared.identity.Server))
	traces := log
	if s.options.TraceLogger != nil {
		traces = s.options.TraceLogger.With("server", uint64(s.shared.identity.Server))
	}
	go func() {
		defer close(s.logged)
		for e := range sub.Events() {
			if e.Kind == EventTrace {
				logEvent(traces, e)
				continue
			}
			logEvent(log, e)
		}
	}()
}

// logEvent writes one event. A logger that panics loses the line, not the process.
func logEvent(log *slog.Logger, e Event) {
	defer func() { _ = recover() }()
	level, message := slog.LevelInfo, e.Kind.String()
	attrs := []slog.Attr{slog.Uint64("group", uint64(e.Group)), slog.Uint64("term", uint64(e.Term))}
	if e.Index != 0 {
		attrs = append(attrs, slog.Uint64("index", uint64(e.Index)))
	}
	if e.Server != 0 {
		attrs = append(attrs, slog.Uint64("of", uint64(e.Server)))
	}
	switch e.Kind {
	case EventTrace:
		level = slog.LevelDebug
		attrs = append(attrs, slog.String("trace", e.Trace.Kind.String()), slog.String("reason", e.Trace.Reason), slog.Uint64("index", uint64(e.Trace.Index)))
	case EventRole:
		attrs = append(attrs, slog.String("role", e.Role.String()))
	case EventTrouble, EventDropped, EventChangeGivenUp, EventRemoved:
		level = slog.LevelWarn
	case EventSlowApply:
		level = slog.LevelWarn
		attrs = append(attrs, slog.Duration("took", e.Elapsed))
	case EventFenced:
		level = slog.LevelError
		if errors.Is(e.Err, ErrClosed) { // nothing has failed: somebody closed the server
			level, message, e.Err = slog.LevelInfo, "closed", nil
		}
	case EventDroppedEvents:
		attrs = append(attrs, slog.Uint64("dropped", e.Dropped))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.Any("error", e.Err))
	}
	log.LogAttrs(context.Background(), level, message, attrs...)
}
