// Package server does: it carries the decisions of the consensus module out in the one right order, keeps the log, the
// network and the state machine busy beside each other, and answers those who wait.
//
// # A server of one group
//
//	s, err := server.Open(server.Options{
//		Log: log, Snapshots: snapshots, Transport: transport,
//		Group: server.GroupOptions{ID: raft.DefaultGroup, StateMachine: machine, Founders: founders},
//	})
//	result, err := s.Propose(ctx, raft.DefaultGroup, command)
//	switch {
//	case err == nil:                          // executed; result is the state machine's
//	case errors.Is(err, server.ErrUnknown):   // may have been executed, or may yet be
//	default:                                  // certainly not executed
//	}
//
// # How it is built
//
// A Replica is one server's copy of one group, without goroutines and without a clock. Turn takes what arrived and
// returns messages to send and Jobs to run: save, apply, query, read old entries, take, fetch and restore snapshots. A
// Server is the shell around any number of replicas: it collects what arrives in bounded inboxes, runs turns on a few
// goroutines, and runs the jobs, each lane of each replica in order. A simulator drives the same Replicas and the same
// Jobs in an order of its choosing.
//
// The loop never waits for the disk, the network or the application. A failed save stops every replica on its store; a
// panic of the application, or an entry that cannot be executed, stops its replica. The process goes on.
package server
