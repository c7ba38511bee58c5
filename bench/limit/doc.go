// Package limit is what replication costs at least on a machine: a primary with two backups over real TCP on loopback
// that frames, replicates, appends with one fdatasync a batch on each of the three, and applies when two have it. It has
// no elections, no terms, no repair and no restart, so it is no replicated log and nothing to build on: it is the ruler
// that oarlock and others are held against.
//
// What makes it fast is what its users should look for elsewhere: pooled requests with pooled wake-ups, whole-queue batches, an
// entry encoded once, a preallocated and recycled file, sends before the own sync, and few hops: client, loop, (disk and
// sockets), and whoever completes the majority applies and wakes.
package limit
