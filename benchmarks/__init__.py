"""Systems, protocols, statistics and the tables that go into the paper."""
