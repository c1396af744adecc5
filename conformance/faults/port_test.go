//go:build unix

package faults

import (
	"net"
	"os"
	"syscall"
)

// port is a loopback port that is ours, and that refuses connections until it
// listens.
type port struct {
	addr   string
	socket *os.File // bound
}

func reserve() (*port, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	syscall.CloseOnExec(fd)
	p := &port{socket: os.NewFile(uintptr(fd), "port")}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	at := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}
	p.addr = at.String()
	return p, nil
}

func (p *port) listen() (net.Listener, error) {
	if err := syscall.Listen(int(p.socket.Fd()), syscall.SOMAXCONN); err != nil {
		return nil, os.NewSyscallError("listen", err)
	}
	return net.FileListener(p.socket)
}
