package pebblelog

// Stats is what a store has done since it was opened, and what it holds.
type Stats struct {
	Saves      uint64 // calls of Save that wrote
	Syncs      uint64 // syncs of the write-ahead log
	SaveNumber uint64 // the newest durable one
	BytesSaved uint64 // of blocks, as they were given to Save
	BytesRead  uint64 // of blocks and memberships that Load and Blocks have read, whole ones, however little of each was wanted

	MemtableBytes    int64 // memory of memtables, those included that readers still hold
	CacheBytes       int64 // memory of the block cache
	WALBytes         int64 // disk, files kept for use again included
	DiskBytes        int64 // disk, all of the database
	Tables           int64 // files of flushed data
	MemtablesWaiting int64 // memtables waiting to be flushed; a Save that would make a third one waits
	Fenced           error // why the store takes nothing more; nil while it does
}

// Stats looks at the store. It may be called from any goroutine until Close, and costs some microseconds.
func (l *Log) Stats() Stats {
	s := Stats{
		Saves: l.saves.Load(), Syncs: l.fs.syncs.Load(), SaveNumber: l.number.Load(), BytesSaved: l.savedBytes.Load(),
		BytesRead: l.readBytes.Load(), Fenced: l.fence.Check(),
	}
	if l.closed.Load() {
		return s
	}
	m := l.db.Metrics()
	s.MemtableBytes = int64(m.MemTable.Size + m.MemTable.ZombieSize)
	s.CacheBytes = m.BlockCache.Size
	s.WALBytes = int64(m.WAL.PhysicalSize + m.WAL.ObsoletePhysicalSize)
	s.DiskBytes = int64(m.DiskSpaceUsage())
	for i := range m.Levels {
		s.Tables += m.Levels[i].TablesCount
	}
	s.MemtablesWaiting = m.MemTable.Count - 1
	return s
}
