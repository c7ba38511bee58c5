package main

import "github.com/oarlock/oarlock/bench/limit"

// limitSystem is the limit of replication on this machine, with logs in a file or in Pebble.
type limitSystem struct {
	name    string
	pebble  bool
	retain  int64
	cluster *limit.Cluster
}

func (s *limitSystem) Name() string { return s.name }

func (s *limitSystem) Start(dir string) (err error) {
	s.cluster, err = limit.Start(dir, limit.Options{Pebble: s.pebble, RetainBytes: s.retain})
	return err
}

func (s *limitSystem) Propose(command []byte) error { return s.cluster.Propose(command) }

func (s *limitSystem) Query() error { return s.cluster.Query() }

func (s *limitSystem) Stats() Stats { return Stats{Syncs: s.cluster.Syncs()} }

func (s *limitSystem) Close() error { return s.cluster.Close() }
