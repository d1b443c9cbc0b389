"""How the proxy waits: one epoll for all sockets of the data path, and deadlines that cost nothing while they hold."""
