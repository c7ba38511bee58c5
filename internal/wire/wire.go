// Package wire is the one place that knows how oarlock's values look as bytes: the records that a log keeps beside its
// blocks, the frames and messages that servers send each other, and what clients speak. Everything is MessagePack
// (https://github.com/msgpack/msgpack/blob/master/spec.md), laid by hand and read by a cursor, without reflection; the
// layouts stand in docs/format.md and the files in testdata hold them fast.
//
// Each value has exactly one encoding: integers take the shortest form that holds them, and a reader refuses any other.
// So a value that was read and written again is the same bytes, and two servers can compare what they hold by its bytes.
package wire
