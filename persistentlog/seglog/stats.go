package seglog

// Stats is what a store has done since it was opened, and what it holds.
type Stats struct {
	Saves      uint64 // calls of Save that wrote
	Syncs      uint64 // syncs of segments
	SaveNumber uint64 // the newest durable one
	BytesSaved uint64 // of blocks, as they were given to Save
	BytesMoved uint64 // of blocks that were written again, so that an old segment could go
	BytesRead  uint64 // of blocks that Load and Blocks have read, whole ones, however little of each was wanted

	Segments  int   // files of the log, spare ones not counted
	UsedBytes int64 // of them
	LiveBytes int64 // of blocks that can be read
	Fenced    error // why the store takes nothing more; nil while it does
}

// Stats looks at the store. It may be called from any goroutine.
func (l *Log) Stats() Stats {
	s := Stats{
		Saves: l.saves.Load(), Syncs: l.syncs.Load(), SaveNumber: l.number.Load(), BytesSaved: l.savedBytes.Load(),
		BytesMoved: l.movedBytes.Load(), BytesRead: l.readBytes.Load(), Fenced: l.fence.Check(),
	}
	l.writer.Lock() // used is the writer's
	defer l.writer.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Segments = len(l.files)
	for _, seg := range l.files {
		s.UsedBytes += seg.used
		s.LiveBytes += seg.live
	}
	return s
}
