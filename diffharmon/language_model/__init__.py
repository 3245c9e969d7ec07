"""Models that answer questions about pictures: the clients that describers, edit sources and judges share."""
