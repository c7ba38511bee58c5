package transporttest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/memnet"
	"github.com/oarlock/oarlock/transport/transporttest"
)

// wrong is a transport that breaks one promise: what is set replaces what the sound one below does.
type wrong struct {
	transport.Transport
	send    func(below func([]raft.Message), messages []raft.Message)
	peers   func(below func([]raft.Member), members []raft.Member)
	fetch   func(below fetcher, ctx context.Context, from raft.Member, r transport.ChunkRequest) (transport.Chunk, error)
	close   func(below func() error) error
	status  func(transport.Status) transport.Status
	handler func(transport.Handler) transport.Handler
}

type fetcher func(context.Context, raft.Member, transport.ChunkRequest) (transport.Chunk, error)

func (w *wrong) Start(h transport.Handler) error {
	if w.handler != nil {
		h = w.handler(h)
	}
	return w.Transport.Start(h)
}

func (w *wrong) Send(messages []raft.Message) {
	if w.send == nil {
		w.Transport.Send(messages)
		return
	}
	w.send(w.Transport.Send, messages)
}

func (w *wrong) SetPeers(members []raft.Member) {
	if w.peers == nil {
		w.Transport.SetPeers(members)
		return
	}
	w.peers(w.Transport.SetPeers, members)
}

func (w *wrong) FetchChunk(ctx context.Context, from raft.Member, r transport.ChunkRequest) (transport.Chunk, error) {
	if w.fetch == nil {
		return w.Transport.FetchChunk(ctx, from, r)
	}
	return w.fetch(w.Transport.FetchChunk, ctx, from, r)
}

func (w *wrong) Close() error {
	if w.close == nil {
		return w.Transport.Close()
	}
	return w.close(w.Transport.Close)
}

func (w *wrong) Status() transport.Status {
	if w.status == nil {
		return w.Transport.Status()
	}
	return w.status(w.Transport.Status())
}

// listening is a handler that sees everything before the real one does.
type listening struct {
	transport.Handler
	receive     func(below func([]raft.Message), messages []raft.Message)
	unreachable func(below func(raft.ServerID, raft.StoreID), id raft.ServerID, store raft.StoreID)
}

func (l *listening) Receive(messages []raft.Message) {
	if l.receive == nil {
		l.Handler.Receive(messages)
		return
	}
	l.receive(l.Handler.Receive, messages)
}

func (l *listening) Unreachable(id raft.ServerID, store raft.StoreID) {
	if l.unreachable == nil {
		l.Handler.Unreachable(id, store)
		return
	}
	l.unreachable(l.Handler.Unreachable, id, store)
}

// receiving makes a transport wrong in what it delivers.
func receiving(f func(below func([]raft.Message), messages []raft.Message)) func(*wrong) {
	return func(w *wrong) {
		w.handler = func(h transport.Handler) transport.Handler { return &listening{Handler: h, receive: f} }
	}
}

func sending(f func(m *raft.Message)) func(*wrong) {
	return func(w *wrong) {
		w.send = func(below func([]raft.Message), messages []raft.Message) {
			messages = slices.Clone(messages)
			for i := range messages {
				f(&messages[i])
			}
			below(messages)
		}
	}
}

// network makes sound transports, or wrong ones.
type network struct {
	*memnet.Network
	spoil func(*wrong)
}

func (n network) Open(local transport.Local) (transport.Transport, string, error) {
	local.Address = fmt.Sprintf("memnet:%d, run %d", local.Server, local.Run)
	sound := n.Transport(local)
	w := &wrong{Transport: sound}
	if n.spoil != nil {
		n.spoil(w)
	}
	return w, local.Address, nil
}

func (n network) Close() error { return nil }

// verdict is a T that keeps what it is told.
type verdict struct {
	mu     sync.Mutex
	faults []string
}

func (v *verdict) Helper() {}

func (v *verdict) Errorf(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}

func judge(t *testing.T, story transporttest.Story, spoil func(*wrong)) []string {
	v := &verdict{}
	synctest.Test(t, func(*testing.T) {
		story.Check(v, func() (transporttest.Network, error) { return network{memnet.New(1), spoil}, nil })
	})
	return v.faults
}

// wrongs maps a story to the transports that it must find wrong, each described by what is the matter with it.
var wrongs = map[string]map[string]func(*wrong){
	"MessagesArriveAsTheyWereSent": {
		"says nothing of the sender's run": receiving(func(below func([]raft.Message), messages []raft.Message) {
			for i := range messages {
				messages[i].FromRun = 0
			}
			below(messages)
		}),
		"leaves out a field": sending(func(m *raft.Message) { m.HintTerm = 0 }),
		"loses what one type carries": sending(func(m *raft.Message) {
			if m.Type == raft.MessageBirthResponse {
				m.Birth.Complete = false
			}
		}),
		"delivers nothing": func(w *wrong) { w.send = func(func([]raft.Message), []raft.Message) {} },
	},
	"MessagesOfOneSenderStayInOrderWithinALane": {
		"turns batches round": func(w *wrong) {
			w.send = func(below func([]raft.Message), messages []raft.Message) {
				messages = slices.Clone(messages)
				slices.Reverse(messages)
				for i := range messages {
					if messages[i].Round%2 == 1 {
						messages[i].Round--
					} else if messages[i].Round > 0 {
						messages[i].Round++
					}
				}
				below(messages)
			}
		},
	},
	"WhatIsSentIsCopiedBeforeSendReturns": {
		"looks at the messages later": func(w *wrong) {
			var before []raft.Message
			w.send = func(below func([]raft.Message), messages []raft.Message) {
				if len(before) > 0 && before[0].To != 0 {
					below(before)
				}
				before = messages
			}
		},
	},
	"TheLargestBlocksArrive": {
		"has no room for them": func(w *wrong) {
			w.send = func(below func([]raft.Message), messages []raft.Message) {
				below(slices.DeleteFunc(slices.Clone(messages), func(m raft.Message) bool {
					return len(m.Blocks) > 0 && m.Blocks[0].Size() > 1<<19
				}))
			}
		},
	},
	"AMessageForAnotherStoreIsDropped": {
		"does not ask": sending(func(m *raft.Message) { m.ToStore = raft.StoreID{} }),
	},
	"AReceiverThatIsFullHoldsUpAppendsAndNotHeartbeats": {
		"has one lane for all": func(w *wrong) {
			turn := make(chan struct{}, 1)
			receiving(func(below func([]raft.Message), messages []raft.Message) {
				turn <- struct{}{}
				defer func() { <-turn }()
				below(messages)
			})(w)
		},
		"does not wait for the receiver": receiving(func(below func([]raft.Message), messages []raft.Message) {
			go below(slices.Clone(messages))
		}),
	},
	"SendNeverBlocksAndItsQueueIsBounded": {
		"waits for the receiver": func(w *wrong) {
			room, closed := make(chan struct{}, 100), make(chan struct{})
			w.send = func(below func([]raft.Message), messages []raft.Message) {
				if len(messages[0].Blocks) > 0 {
					select {
					case room <- struct{}{}:
					case <-closed:
					}
				}
				below(messages)
			}
			w.close = func(below func() error) error {
				close(closed)
				return below()
			}
		},
		"has no bound": func(w *wrong) {
			w.status = func(s transport.Status) transport.Status {
				s.QueuedBytesMax = 1 << 50
				return s
			}
		},
		"counts no loss": func(w *wrong) {
			w.status = func(s transport.Status) transport.Status {
				s.DroppedMessages = 0
				return s
			}
		},
	},
	"APeerThatCannotBeReachedIsReported": {
		"keeps it to itself": func(w *wrong) {
			w.handler = func(h transport.Handler) transport.Handler {
				return &listening{Handler: h, unreachable: func(func(raft.ServerID, raft.StoreID), raft.ServerID, raft.StoreID) {}}
			}
		},
		"has no reason in its status": func(w *wrong) {
			w.status = func(s transport.Status) transport.Status {
				for i := range s.Peers {
					s.Peers[i].Error = ""
				}
				return s
			}
		},
	},
	"OnlyPeersAreSentTo": {
		"keeps its peers for ever": func(w *wrong) {
			var all []raft.Member
			w.peers = func(below func([]raft.Member), members []raft.Member) {
				all = append(all, members...)
				below(all)
			}
		},
	},
	"TwoPeersMayShareAnID": {
		"knows one of them": func(w *wrong) {
			w.peers = func(below func([]raft.Member), members []raft.Member) {
				below(slices.CompactFunc(slices.Clone(members), func(a, b raft.Member) bool { return a.ID == b.ID }))
			}
		},
		"asks for no store": sending(func(m *raft.Message) { m.ToStore = raft.StoreID{} }),
		"fetches from any store": func(w *wrong) {
			w.fetch = func(below fetcher, ctx context.Context, from raft.Member, r transport.ChunkRequest) (transport.Chunk, error) {
				from.Store = raft.StoreID{}
				return below(ctx, from, r)
			}
		},
		"reports no store": func(w *wrong) {
			w.handler = func(h transport.Handler) transport.Handler {
				return &listening{Handler: h, unreachable: func(below func(raft.ServerID, raft.StoreID), id raft.ServerID, _ raft.StoreID) {
					below(id, raft.StoreID{})
				}}
			}
		},
	},
	"AServerThatIsNoPeerIsAnswered": {
		"writes to peers alone": func(w *wrong) {
			var known []raft.Member
			w.peers = func(below func([]raft.Member), members []raft.Member) {
				known = members
				below(members)
			}
			w.send = func(below func([]raft.Message), messages []raft.Message) {
				below(slices.DeleteFunc(slices.Clone(messages), func(m raft.Message) bool {
					return !slices.ContainsFunc(known, func(k raft.Member) bool { return k.ID == m.To })
				}))
			}
		},
		"never forgets a visitor": func(w *wrong) {
			var all []raft.Member
			w.peers = func(below func([]raft.Member), members []raft.Member) {
				all = append(all, members...)
				below(all)
			}
		},
	},
	"AServerThatMovedIsReachedAtItsOtherAddress": {
		"takes the first address alone": func(w *wrong) {
			w.peers = func(below func([]raft.Member), members []raft.Member) {
				below(slices.CompactFunc(slices.Clone(members), func(a, b raft.Member) bool { return a.ID == b.ID && a.Store == b.Store }))
			}
		},
	},
	"AServerThatStartedAgainIsReachedWithItsNewRun": {
		"remembers the first run": receiving(func(below func([]raft.Message), messages []raft.Message) {
			for i := range messages {
				messages[i].FromRun = raft.RunID(messages[i].From)
			}
			below(messages)
		}),
	},
	"AHandlerThatPanicsHarmsNobodyElse": {
		"stops after it": func(w *wrong) {
			var dead bool
			receiving(func(below func([]raft.Message), messages []raft.Message) {
				if dead {
					return
				}
				dead = true
				below(messages)
				dead = false
			})(w)
		},
	},
	"ChunksArriveWithTheirBytes": {
		"changes a byte": func(w *wrong) {
			w.fetch = func(below fetcher, ctx context.Context, from raft.Member, r transport.ChunkRequest) (transport.Chunk, error) {
				c, err := below(ctx, from, r)
				if len(c.Bytes) > 0 {
					c.Bytes[len(c.Bytes)/2] ^= 1
				}
				return c, err
			}
		},
		"forgets where it is": func(w *wrong) {
			w.fetch = func(below fetcher, ctx context.Context, from raft.Member, r transport.ChunkRequest) (transport.Chunk, error) {
				c, err := below(ctx, from, r)
				c.Offset = 0
				return c, err
			}
		},
	},
	"ARefusedChunkSaysWhy": {
		"does not": func(w *wrong) {
			w.fetch = func(below fetcher, ctx context.Context, from raft.Member, r transport.ChunkRequest) (transport.Chunk, error) {
				c, err := below(ctx, from, r)
				if errors.Is(err, transport.ErrChunkRefused) {
					err = transport.ErrChunkRefused
				}
				return c, err
			}
		},
	},
	"AFetchEndsWithItsContext": {
		"does not": func(w *wrong) {
			w.fetch = func(below fetcher, ctx context.Context, from raft.Member, r transport.ChunkRequest) (transport.Chunk, error) {
				return below(context.WithoutCancel(ctx), from, r)
			}
		},
	},
	"ChunksHoldUpNoMessages": {
		"has one lane for both": func(w *wrong) {
			turn := make(chan struct{}, 1)
			w.fetch = func(below fetcher, ctx context.Context, from raft.Member, r transport.ChunkRequest) (transport.Chunk, error) {
				turn <- struct{}{}
				defer func() { <-turn }()
				return below(ctx, from, r)
			}
			w.send = func(below func([]raft.Message), messages []raft.Message) {
				select {
				case turn <- struct{}{}:
					below(messages)
					<-turn
				default:
				}
			}
		},
	},
	"NothingIsDeliveredAfterClose": {
		"stays open until it is closed twice": func(w *wrong) {
			closed := false
			w.close = func(below func() error) error {
				if !closed {
					closed = true
					return nil
				}
				return below()
			}
		},
		"fetches on": func(w *wrong) {
			w.fetch = func(fetcher, context.Context, raft.Member, transport.ChunkRequest) (transport.Chunk, error) {
				return transport.Chunk{}, transport.ErrUnreachable
			}
		},
	},
}

func TestEachStoryFindsTheTransportsThatBreakItsPromise(t *testing.T) {
	for _, story := range transporttest.Stories() {
		t.Run(story.Name, func(t *testing.T) {
			require.NotEmpty(t, wrongs[story.Name], "no transport is wrong in this respect: can the story fail?")
			require.Empty(t, judge(t, story, nil), "a sound transport")
			for what, spoil := range wrongs[story.Name] {
				require.NotEmpty(t, judge(t, story, spoil), "a transport that %s", what)
			}
		})
	}
}
