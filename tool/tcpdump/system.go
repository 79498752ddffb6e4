package tcpdump

import (
	"net"
	"sync"

	"github.com/towpath/towpath/capture/pcap"
)

// System are the system's interfaces.
type System struct{ names sync.Map }

// List implements [Devices].
func (*System) List() ([]pcap.Interface, error) { return pcap.FindAllDevs() }

// Open implements [Devices].
func (*System) Open(device string, o pcap.Options) (*pcap.Handle, error) {
	return pcap.OpenLive(device, o)
}

// Name is the name of an interface, or "".
func (s *System) Name(index uint32) string {
	if name, ok := s.names.Load(index); ok {
		return name.(string)
	}
	i, err := net.InterfaceByIndex(int(index))
	if err != nil {
		return "" // it may come
	}
	s.names.Store(index, i.Name)
	return i.Name
}
