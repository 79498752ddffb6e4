package savefile

import (
	"bufio"
	"errors"
	"os"
)

// A File is a [Writer] to a file in the file system, buffered.
type File struct {
	Writer
	f *os.File
	b *bufio.Writer
}

// A PcapngFile is a [PcapngWriter] to a file in the file system, buffered.
type PcapngFile struct {
	PcapngWriter
	f *os.File
	b *bufio.Writer
}

// CreatePcapng makes a file, or empties the one that is there. Until the first
// Flush nothing may be in it.
func CreatePcapng(name string, s Section) (*PcapngFile, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	b := bufio.NewWriterSize(f, 64<<10)
	w, err := NewPcapngWriter(b, s)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &PcapngFile{*w, f, b}, nil
}

// Name is the file's name as it was given to CreatePcapng.
func (f *PcapngFile) Name() string { return f.f.Name() }

// Flush hands what is buffered to the operating system.
func (f *PcapngFile) Flush() error { return f.b.Flush() }

// Close flushes and closes the file.
func (f *PcapngFile) Close() error { return errors.Join(f.b.Flush(), f.f.Close()) }

// Create makes a file, or empties the one that is there. Until the first Flush
// nothing may be in it.
func Create(name string, h Header) (*File, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	b := bufio.NewWriterSize(f, 64<<10)
	w, err := NewWriter(b, h)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &File{*w, f, b}, nil
}

// Name is the file's name as it was given to Create.
func (f *File) Name() string { return f.f.Name() }

// Flush hands what is buffered to the operating system.
func (f *File) Flush() error { return f.b.Flush() }

// Close flushes and closes the file.
func (f *File) Close() error { return errors.Join(f.b.Flush(), f.f.Close()) }
