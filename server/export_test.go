package server

import "github.com/oarlock/oarlock/raft"

// FinishedJobs is how many jobs wait for a group's next turn.
func FinishedJobs(s *Server, id raft.GroupID) int {
	g := s.group(id)
	g.inbox.mu.Lock()
	defer g.inbox.mu.Unlock()
	return len(g.inbox.in.Finished)
}
