package main

/*
#include "internal.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"runtime/cgo"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
)

// clusterBox is a cluster in memory from oar_cluster_new to oar_cluster_free.
type clusterBox struct {
	*memory
	freeing chan struct{} // closed by who begins to free it
	once    sync.Once
}

// The times of a cluster whose options name none. Tests wait for elections.
const (
	clusterElectionMin = 100 * time.Millisecond
	clusterElectionMax = 200 * time.Millisecond
	clusterHeartbeat   = 20 * time.Millisecond
)

func clusterOf(h C.uintptr_t) *clusterBox { return cgo.Handle(h).Value().(*clusterBox) }

//export oargo_cluster_new
func oargo_cluster_new(conf C.uintptr_t, servers C.uint32_t, out *C.uintptr_t) (status C.oar_status) {
	defer caught(&status)
	var c *config.Config
	if conf != 0 {
		b := configOf(conf)
		b.mu.Lock()
		c = b.config.Clone()
		b.mu.Unlock()
	} else {
		c = config.Default()
		t := &c.Timing
		t.ElectionTimeoutMin, t.ElectionTimeoutMax, t.HeartbeatInterval = clusterElectionMin, clusterElectionMax, clusterHeartbeat
	}
	m, err := newMemory(c, int(servers))
	if err != nil {
		return fail(err, C.OAR_ERR_CONFIG)
	}
	b := &clusterBox{memory: m, freeing: make(chan struct{})}
	enlist(b)
	*out = C.uintptr_t(cgo.NewHandle(b))
	return C.OAR_OK
}

// oargo_cluster_open makes the server of a member, for the object, whose machine or queue is there.
//
//export oargo_cluster_open
func oargo_cluster_open(
	h C.uintptr_t, id C.uint64_t, object *C.struct_oar_server_object, pullFlags C.uint32_t, out *C.uintptr_t,
) (status C.oar_status) {
	defer caught(&status)
	b := clusterOf(h)
	m, err := b.at(raft.ServerID(id))
	if err != nil {
		return fail(err, C.OAR_ERR_NOT_FOUND)
	}
	s := newServerBox(object, m.open, b.patience, pullFlags)
	*out = s.named()
	m.mu.Lock()
	m.box = s
	m.mu.Unlock()
	return C.OAR_OK
}

// oargo_cluster_close stops a server, in good order or by a power cut. ended says that nothing of it is left, even if it failed.
//
//export oargo_cluster_close
func oargo_cluster_close(h C.uintptr_t, id C.uint64_t, object *C.struct_oar_server_object, crash C.bool, ended *C.bool) (status C.oar_status) {
	defer caught(&status)
	m, err := clusterOf(h).at(raft.ServerID(id))
	if err != nil {
		return fail(err, C.OAR_ERR_NOT_FOUND)
	}
	if crash {
		m.endsByCrash()
	}
	s := serverOf(object._go)
	err = s.close()
	s.mu.Lock()
	*ended = C.bool(s.closed)
	s.mu.Unlock()
	return fail(err, C.OAR_ERR_IO)
}

// close stops every server, for oar_shutdown.
func (b *clusterBox) close() (all error) {
	for _, m := range b.all() {
		m.mu.Lock()
		s := m.box
		m.mu.Unlock()
		if s != nil {
			all = errors.Join(all, s.close())
		}
	}
	return all
}

// alive returns the servers that run.
func (b *clusterBox) alive() map[raft.ServerID]*running {
	found := make(map[raft.ServerID]*running)
	for _, m := range b.all() {
		m.mu.Lock()
		s := m.box
		m.mu.Unlock()
		if s == nil {
			continue
		}
		select {
		case <-s.stopped:
		default:
			if r := s.started.Load(); r != nil {
				found[m.id] = r
			}
		}
	}
	return found
}

// barrierWithin is how long a server that says that it leads may take to prove it, before others are looked at.
const barrierWithin = 500 * time.Millisecond

// leads finds the server that leads, as a majority knows; nil: none does at the moment.
func (b *clusterBox) leads(ctx context.Context) (raft.ServerID, *running) {
	for id, s := range b.alive() {
		st, ok := s.GroupStatus(raft.DefaultGroup)
		if !ok || st.Role != raft.RoleLeader {
			continue
		}
		short, cancel := context.WithTimeout(ctx, barrierWithin)
		err := s.Barrier(short, raft.DefaultGroup)
		cancel()
		if st, _ = s.GroupStatus(raft.DefaultGroup); err == nil && st.Role == raft.RoleLeader {
			return id, s // and not one that follows another since
		}
	}
	return 0, nil
}

// pause waits for the next look.
func (b *clusterBox) pause(ctx context.Context, ticker *time.Ticker) error {
	select {
	case <-b.freeing:
		return server.ErrClosed
	case <-ctx.Done():
		return errTimeout
	case <-ticker.C:
		return nil
	}
}

//export oargo_cluster_leader
func oargo_cluster_leader(h C.uintptr_t, timeout C.int64_t, out *C.uint64_t) (status C.oar_status) {
	defer caught(&status)
	ctx, cancel := within(timeout)
	defer cancel()
	b := clusterOf(h)
	ticker := time.NewTicker(readyLookEvery)
	defer ticker.Stop()
	for {
		if id, s := b.leads(ctx); s != nil {
			*out = C.uint64_t(id)
			return C.OAR_OK
		}
		if err := b.pause(ctx, ticker); err != nil {
			return fail(fmt.Errorf("%w: %d of %d servers run, and none leads", err, len(b.alive()), len(b.all())), C.OAR_ERR_TIMEOUT)
		}
	}
}

//export oargo_cluster_settle
func oargo_cluster_settle(h C.uintptr_t, timeout C.int64_t) (status C.oar_status) {
	defer caught(&status)
	ctx, cancel := within(timeout)
	defer cancel()
	return fail(clusterOf(h).settle(ctx), C.OAR_ERR_TIMEOUT)
}

// settle waits until all servers that run have applied what the leader, when it was found, had. Whoever has stopped by itself never
// will.
func (b *clusterBox) settle(ctx context.Context) error {
	var goal raft.Index // 0: no leader was found yet
	ticker := time.NewTicker(readyLookEvery)
	defer ticker.Stop()
	for {
		why, err := b.behind(goal)
		if err != nil || why == "" && goal > 0 {
			return err
		}
		if goal == 0 {
			if _, s := b.leads(ctx); s != nil {
				st, _ := s.GroupStatus(raft.DefaultGroup)
				goal = max(st.Applied, 1)
				continue
			}
			why = "no server leads"
		}
		if err := b.pause(ctx, ticker); err != nil {
			return fmt.Errorf("%w: %s", err, why)
		}
	}
}

// outside reports whether a server was removed from the group, or is yet to be added.
func outside(s *running, st *server.GroupStatus) bool {
	store := s.Status().Identity.Store
	return st.Removed || !slices.ContainsFunc(st.Membership.Members(), func(m raft.Member) bool { return m.ID == st.ID && m.Store == store })
}

// behind names a server that has not applied everything up to an index. The error is of one that never will.
func (b *clusterBox) behind(goal raft.Index) (why string, err error) {
	for id, s := range b.alive() {
		st, ok := s.GroupStatus(raft.DefaultGroup)
		switch {
		case ok && st.Fenced != nil:
			return "", fmt.Errorf("%w: server %d: %w", server.ErrFenced, id, st.Fenced)
		case ok && st.Applied < goal && outside(s, &st):
		case !ok || st.Applied < goal:
			why = fmt.Sprintf("server %d has applied %d entries of %d", id, st.Applied, goal)
		}
	}
	return why, nil
}

//export oargo_cluster_client
func oargo_cluster_client(
	h C.uintptr_t, o *C.oar_client_options, object *C.struct_oar_client_object, out *C.uintptr_t,
) (status C.oar_status) {
	defer caught(&status)
	b := clusterOf(h)
	return openClient(o, object, out, func(options *client.Options) error {
		b.configure(options)
		return nil
	})
}

// oargo_cluster_add makes one more server, or takes the disk of one that does not run, and says how the group is to take it.
//
//export oargo_cluster_add
func oargo_cluster_add(h C.uintptr_t, replace C.uint64_t, out *C.oar_change, address **C.char) (status C.oar_status) {
	defer caught(&status)
	b := clusterOf(h)
	var m raft.Member
	var err error
	if replace != 0 {
		out.kind = C.OAR_CHANGE_REPLACE
		m, err = b.Replace(raft.ServerID(replace))
	} else {
		out.kind = C.OAR_CHANGE_ADD_VOTER
		m, err = b.add()
	}
	if err != nil {
		return fail(err, C.OAR_ERR_ORDER)
	}
	out.id = C.uint64_t(m.ID)
	for i, x := range m.Store {
		out.store[i] = C.uchar(x)
	}
	*address = C.CString(m.Address)
	return C.OAR_OK
}

//export oargo_cluster_split
func oargo_cluster_split(h C.uintptr_t, ids *C.uint64_t, count C.size_t) (status C.oar_status) {
	defer caught(&status)
	b := clusterOf(h)
	var sides [2][]raft.ServerID
	one := make(map[raft.ServerID]bool)
	for _, id := range unsafe.Slice(ids, int(count)) {
		if _, err := b.at(raft.ServerID(id)); err != nil {
			return fail(err, C.OAR_ERR_NOT_FOUND)
		}
		one[raft.ServerID(id)] = true
	}
	for _, m := range b.all() {
		side := 0
		if one[m.id] {
			side = 1
		}
		sides[side] = append(sides[side], m.id)
	}
	b.Partition(sides[0], sides[1])
	return C.OAR_OK
}

//export oargo_cluster_cut
func oargo_cluster_cut(h C.uintptr_t, from, to C.uint64_t) (status C.oar_status) {
	defer caught(&status)
	b := clusterOf(h)
	_, noFrom := b.at(raft.ServerID(from))
	_, noTo := b.at(raft.ServerID(to))
	if err := errors.Join(noFrom, noTo); err != nil {
		return fail(err, C.OAR_ERR_NOT_FOUND)
	}
	b.Network().Cut(raft.ServerID(from), raft.ServerID(to))
	return C.OAR_OK
}

//export oargo_cluster_heal
func oargo_cluster_heal(h C.uintptr_t) (status C.oar_status) {
	defer caught(&status)
	clusterOf(h).Heal()
	return C.OAR_OK
}

// oargo_cluster_close_all closes the cluster, in which no server runs any more. The failure, of a message that did not survive its
// encoding, is told once.
//
//export oargo_cluster_close_all
func oargo_cluster_close_all(h C.uintptr_t) (status C.oar_status) {
	defer caught(&status)
	return fail(clusterOf(h).Close(), C.OAR_ERR_INTERNAL)
}

// oargo_cluster_end has whoever waits in the cluster come out. Its servers have been closed.
//
//export oargo_cluster_end
func oargo_cluster_end(h C.uintptr_t) {
	b := clusterOf(h)
	b.once.Do(func() { close(b.freeing) })
}

//export oargo_cluster_free
func oargo_cluster_free(h C.uintptr_t) {
	strike(clusterOf(h))
	cgo.Handle(h).Delete()
}
