package pebblelog

import "github.com/oarlock/oarlock/raft"

// Blocks reads entries. It checks each record's checksum, its place, its term against the trail, and the chain hash from
// block to block. It may return what a Save under way has written and not yet synced.
func (l *Log) Blocks(id raft.GroupID, from, to raft.Index, maxBytes int) (blocks []raft.Block, err error) {
	if err := l.usable(); err != nil {
		return nil, err
	}
	r, err := l.reader(id)
	if err != nil {
		return nil, err
	}
	defer r.close(&err)
	record, _, err := r.logRecord()
	if err != nil {
		return nil, err
	}
	first := max(record.first, l.compactedTo(id), 1)
	if err := storeKind.CheckRange(id, first, max(record.next, 1), from, to); err != nil {
		return nil, err
	}
	to = min(to, record.next)
	trail, err := r.runs(from, to)
	if err != nil {
		return nil, err
	}
	s := blockScan{reader: r, trail: trail, next: record.next}
	return s.collect(from, to, maxBytes)
}

// compactedTo is where the group's log begins for whoever reads it, if the group is in memory.
func (l *Log) compactedTo(id raft.GroupID) raft.Index {
	l.mu.Lock()
	defer l.mu.Unlock()
	if g := l.groups[id]; g != nil {
		return g.spine.First()
	}
	return 0
}

// blockScan walks over blocks that follow one another.
type blockScan struct {
	reader *groupReader
	trail  []raft.TermRun // from the run that holds the next entry on
	next   raft.Index     // where the log ends
	room   []byte
	budget int
}

const (
	// roomBytes is how much memory small blocks share: one piece each would cost more than their bytes.
	roomBytes = 64 << 10
	// roomBlockMax is the largest block that shares.
	roomBlockMax = 4 << 10
)

// take gives memory for one record.
func (s *blockScan) take(size int) []byte {
	if size > roomBlockMax {
		return make([]byte, size)
	}
	if size > len(s.room) {
		s.room = make([]byte, min(roomBytes, max(s.budget, size)))
	}
	record := s.room[:size:size]
	s.room = s.room[size:]
	return record
}

func (s *blockScan) collect(from, to raft.Index, maxBytes int) (blocks []raft.Block, err error) {
	r := s.reader
	seek := makeKey(r.id, kindBlock, from+1)
	r.it.SeekLT(seek[:])
	at, ok := r.at(kindBlock)
	var chain uint64
	for collected := 0; from < to; {
		if !ok {
			if err := r.failed(from); err != nil {
				return nil, err
			}
			return nil, r.log.damaged(r.id, from, "no block holds the index, and the log goes on before %d", s.next)
		}
		s.budget = maxBytes - collected
		whole, err := r.block(at, s.take)
		if err != nil {
			return nil, err
		}
		// The block ends where the next one begins: what stood behind was replaced.
		end := s.next
		r.it.Next()
		if at, ok = r.at(kindBlock); ok {
			end = min(end, at)
		} else if err := r.failed(whole.Next()); err != nil {
			return nil, err // a disk that failed is no log that ends here
		}
		b := whole.Clip(from, min(end, to))
		if err := s.check(whole, b, from, min(end, to)); err != nil {
			return nil, err
		}
		if len(blocks) > 0 && b.Chain() != chain {
			return nil, r.log.damaged(r.id, from, "chain hash %016x does not follow %016x: an entry before is not the one that was saved",
				b.Chain(), chain)
		}
		blocks = append(blocks, b)
		collected += b.Size()
		if from = b.Next(); from >= to || collected >= maxBytes {
			break
		}
		chain = b.ChainAfter()
	}
	return blocks, nil
}

// check compares a block, and the part of it that is wanted, with the range that it must fill and with the trail.
func (s *blockScan) check(whole, part raft.Block, from, to raft.Index) error {
	r := s.reader
	if from >= to || part.First() != from || part.Next() != to {
		return r.log.damaged(r.id, max(from, whole.Next()), "the block at %d ends before %d, and none follows until %d",
			whole.First(), whole.Next(), to)
	}
	for len(s.trail) > 1 && s.trail[1].First <= from {
		s.trail = s.trail[1:]
	}
	if s.trail[0].Term != whole.Term() || len(s.trail) > 1 && s.trail[1].First < to {
		return r.log.damaged(r.id, from, "the block at %d has term %d, and the trail %v", whole.First(), whole.Term(), s.trail)
	}
	return nil
}
