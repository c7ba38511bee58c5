package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// demoLoad writes unique keys through clients that find the leader by themselves, and remembers what it was promised.
type demoLoad struct {
	client *client.Client // reads what was written, and probes
	view   *demoView
	pauses *pauses      // or nil
	gate   sync.RWMutex // a write holds it to read; who has the writers rest holds it to write
	next   atomic.Int64
	acked  atomic.Int64
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	keys    []int64 // acknowledged
	unknown int     // proposals whose fate the client could not learn
	failed  error   // the first answer that is neither
	moved   chan struct{}
}

func demoKey(n int64) []byte { return fmt.Appendf(nil, "demo/%08d", n) }
func demoValue(n int64) []byte {
	return fmt.Appendf(nil, "value %d of the demo, never written before or again", n)
}

func startLoad(ctx context.Context, c *client.Client, writers int, v *demoView) *demoLoad {
	return startLoadBy(ctx, []*client.Client{c}, writers, v, nil)
}

// startLoadBy shares the writers out among the clients.
func startLoadBy(ctx context.Context, clients []*client.Client, writers int, v *demoView, p *pauses) *demoLoad {
	ctx, cancel := context.WithCancel(ctx)
	l := &demoLoad{client: clients[0], view: v, pauses: p, cancel: cancel, moved: make(chan struct{}, 1)}
	for k := range writers {
		l.wg.Go(func() {
			for ctx.Err() == nil {
				l.gate.RLock()
				l.write(ctx, clients[k%len(clients)])
				l.gate.RUnlock()
			}
		})
	}
	return l
}

// rest has the writers wait, once what they have sent is answered, until go is called.
func (l *demoLoad) rest() (goOn func()) {
	l.gate.Lock()
	l.pauses.rest()
	return l.gate.Unlock
}

// write puts one key. Only an answer that says so makes it an acknowledged one.
func (l *demoLoad) write(ctx context.Context, c *client.Client) {
	n := l.next.Add(1)
	result, err := c.Propose(ctx, kv.Put(demoKey(n), demoValue(n)))
	existed := false
	if err == nil {
		existed, err = kv.DecodePut(result)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil && existed:
		l.fail(fmt.Errorf("key %d was written twice: a retry was applied again", n))
	case err == nil:
		l.pauses.acknowledged()
		l.keys = append(l.keys, n)
		l.view.progress(int(l.acked.Add(1)))
	case errors.Is(err, client.ErrUnknown):
		l.unknown++
	case ctx.Err() == nil:
		l.fail(err)
	}
	select {
	case l.moved <- struct{}{}:
	default:
	}
}

func (l *demoLoad) fail(err error) {
	if l.failed == nil {
		l.failed = err
	}
	l.cancel()
}

// waitFor returns when that many keys are acknowledged.
func (l *demoLoad) waitFor(ctx context.Context, keys int) error {
	for {
		l.mu.Lock()
		failed := l.failed
		l.mu.Unlock()
		if failed != nil {
			return fmt.Errorf("a write failed: %w", failed)
		}
		if l.written() >= keys {
			return nil
		}
		select {
		case <-l.moved:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d keys written: %w", l.written(), keys, context.Cause(ctx))
		}
	}
}

func (l *demoLoad) written() int { return int(l.acked.Load()) }

// probe writes one key that begins now and returns how long after since it was acknowledged.
func (l *demoLoad) probe(ctx context.Context, since time.Time) (time.Duration, error) {
	n := l.next.Add(1)
	if _, err := l.client.Propose(ctx, kv.Put(demoKey(n), demoValue(n))); err != nil {
		return 0, err
	}
	took := time.Since(since)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keys = append(l.keys, n)
	l.acked.Add(1)
	return took, nil
}

// finish ends the load once every call has its answer, and returns the first that failed.
func (l *demoLoad) finish() error {
	goOn := l.rest()
	l.cancel()
	goOn()
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

func (l *demoLoad) stop() {
	l.cancel()
	l.wg.Wait()
}

func (l *demoLoad) results() (acked, unknown int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.keys), l.unknown
}

// readers is how many reads of readBack are outstanding.
const readers = 64

// readBack reads every acknowledged key, linearizably, and returns how many are missing or hold something else.
func (l *demoLoad) readBack(ctx context.Context) (lost int, err error) {
	var next, bad atomic.Int64
	errs := make([]error, readers)
	var wg sync.WaitGroup
	for r := range readers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				k := int(next.Add(1)) - 1
				if k >= len(l.keys) {
					return
				}
				n := l.keys[k]
				result, err := l.client.Query(ctx, kv.Get(demoKey(n)))
				if err != nil {
					errs[r] = err
					return
				}
				value, found, err := kv.DecodeGet(result)
				if err != nil || !found || !bytes.Equal(value, demoValue(n)) {
					bad.Add(1)
				}
			}
		}()
	}
	wg.Wait()
	return int(bad.Load()), errors.Join(errs...)
}
