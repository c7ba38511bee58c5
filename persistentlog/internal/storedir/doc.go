// Package storedir is what every log that lives in a directory has, whatever it keeps there: the file that says whose the
// directory is, the lock, modes for the owner alone, the fence that goes up at the first failed write, and the witness of the
// log's end. All of it goes through a vfs.FS, so that a simulated disk can stand beneath.
package storedir
