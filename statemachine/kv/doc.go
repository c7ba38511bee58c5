// Package kv is a key-value store as a state machine: put, append, compare-and-set, delete, and keys that expire by
// cluster time. It is what the oarlock command serves, and an example of every optional interface but Durable.
//
// A command or query is bytes, made by the functions of this package (Put, Get, ...) and, because they are MessagePack
// arrays, by any language that has a MessagePack library. Keys and values are bin values (str is read too); integers
// may have any width.
//
//	command           array                            number in the result
//	Put               [1, key, value, ttl]             1 if the key was there, else 0
//	Append            [2, key, value]                  length of the value afterwards
//	CompareAndSet     [3, key, expected, value, ttl]   1 if it was set, else 0; expected nil: the key must be absent
//	Delete            [4, key]                         1 if the key was there, else 0
//	CompareAndDelete  [5, key, expected]               1 if it was deleted, else 0
//
//	query             array                            result
//	Get               [1, key]                         [0, value], or [1, nil] when the key is not there
//	Scan              [2, from, to, limit]             [0, more, [key, value, key, value, ...]]
//	Count             [3, from, to]                    [0, count]
//	HashOf            [4]                              [0, hash (8 bytes), count]
//
// The result of a command is always [code, number]. A refusal is a result like any other, the same on every server:
// the code is then one of CodeBadCommand, CodeUnknownCommand and CodeTooLarge, and nothing has changed. Ranges are half
// open, in the order of the bytes; to is nil for no end.
//
// A ttl is in nanoseconds of cluster time, counted from the entry that carries it; 0 is for ever. Put and
// CompareAndSet replace the key's ttl, Append leaves it. Whatever is due at an entry's time goes before that entry's
// command is executed, and at a clock entry (Expire) without any command. So there is one notion of now, the time of
// the last entry executed: a query reads the state as that entry left it, on every server the same, and needs no clock.
package kv
