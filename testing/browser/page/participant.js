// What a test asks of one browser page. It uses the public API of the stock livekit-client, but for the bytes of data packets.
import { perceive } from './senses.js';
import { picture, recording, tone } from './sources.js';

const {
  Room, RoomEvent, Track, LocalAudioTrack, LocalVideoTrack, ConnectionCheck, CheckStatus, VideoQuality, createLocalTracks,
} = globalThis.LivekitClient;
const RELIABLE = 0; // DataChannelKind
const rooms = new Map();

function enter(name, room) {
  const seen = { room, events: [], packets: [], perceived: new Map() };
  const note = (event, detail) => seen.events.push({ event, detail, at: Math.round(performance.now()) });
  for (const event of ['Connected', 'Reconnecting', 'Reconnected', 'SignalReconnecting', 'ParticipantConnected', 'ParticipantDisconnected']) {
    room.on(RoomEvent[event], (who) => note(event, who?.identity));
  }
  room.on(RoomEvent.Disconnected, (reason) => note('Disconnected', reason));
  room.on(RoomEvent.TrackSubscribed, (track, publication, who) => {
    seen.perceived.set(publication.trackSid, perceive(track));
    note('TrackSubscribed', `${who.identity}/${publication.kind}`);
  });
  room.on(RoomEvent.TrackUnsubscribed, (track, publication, who) => {
    seen.perceived.get(publication.trackSid)?.stop();
    seen.perceived.delete(publication.trackSid);
    note('TrackUnsubscribed', `${who.identity}/${publication.kind}`);
  });
  room.on(RoomEvent.TrackSubscriptionFailed, (sid) => note('TrackSubscriptionFailed', sid));
  room.on(RoomEvent.TrackMuted, (publication, who) => note('TrackMuted', `${who.identity}/${publication.kind}`));
  room.on(RoomEvent.TrackUnmuted, (publication, who) => note('TrackUnmuted', `${who.identity}/${publication.kind}`));
  room.on(RoomEvent.DataReceived, (bytes, who, _, topic) =>
    note('DataReceived', `${who?.identity}/${topic ?? ''}/${new TextDecoder().decode(bytes)}`));
  room.engine.on('dataPacketReceived', (packet) => seen.packets.push(packet.toJson()));
  rooms.set(name, seen);
}

const of = (name) => rooms.get(name);
const SOURCES = { audio: Track.Source.Microphone, video: Track.Source.Camera };
/** A publication by its kind, which means microphone and camera, or by its source. */
const remote = (name, identity, what) =>
  of(name).room.remoteParticipants.get(identity)?.getTrackPublication(SOURCES[what] ?? what);
const local = (name, what) => of(name).room.localParticipant.getTrackPublication(SOURCES[what] ?? what);
const sense = (name, publication) => of(name).perceived.get(publication?.trackSid)?.sense() ?? null;

/** Mutes it as the SDK mutes a device that it stops: not one packet is sent. */
async function switchOff(track) {
  await track.mute();
  track.mediaStreamTrack.stop();
}

/** Has the encoder make its pictures in a temporal hierarchy; the SDK asks for one of VP9 and AV1 only. */
async function layer(sender, scalabilityMode) {
  const parameters = sender.getParameters();
  for (const encoding of parameters.encodings) encoding.scalabilityMode = scalabilityMode;
  await sender.setParameters(parameters);
}

async function inbound(track) {
  const report = await track?.getRTCStatsReport();
  const found = report && [...report.values()].find((entry) => entry.type === 'inbound-rtp');
  return {
    framesDecoded: found?.framesDecoded ?? 0,
    frameWidth: found?.frameWidth ?? 0,
    packetsReceived: found?.packetsReceived ?? 0,
    packetsLost: found?.packetsLost ?? 0,
    nackCount: found?.nackCount ?? 0,
    pliCount: found?.pliCount ?? 0,
    freezeCount: found?.freezeCount ?? 0,
    concealedSamples: found?.concealedSamples ?? 0,
    silentConcealedSamples: found?.silentConcealedSamples ?? 0,
    totalSamplesReceived: found?.totalSamplesReceived ?? 0,
    totalAudioEnergy: found?.totalAudioEnergy ?? 0,
  };
}

globalThis.aura = {
  /** Joins; resolves to how long it took in milliseconds, or to the error's public fields. */
  async join(name, url, token, options = {}) {
    const { room: roomOptions = {}, connect = {} } = options;
    const room = new Room(roomOptions);
    enter(name, room);
    const from = performance.now();
    try {
      await room.connect(url, token, connect);
      return { ok: true, ms: performance.now() - from };
    } catch (error) {
      return { ok: false, name: error.constructor.name, errorName: error.name, reason: error.reason,
        reasonName: error.reasonName, status: error.status, message: error.message };
    }
  },

  /** Publishes the fake microphone and the fake camera, kept small because encoders share the CPU with the server. */
  async publish(name, { audio = true, video = true } = {}, publishOptions = {}) {
    const tracks = await createLocalTracks({
      audio,
      video: video && { resolution: { width: 640, height: 480, frameRate: 15 } },
    });
    for (const track of tracks) {
      await of(name).room.localParticipant.publishTrack(track, publishOptions);
    }
    return tracks.length;
  },

  /** Publishes a tone; or a muted microphone that is switched off. */
  async speak(name, hz, { muted = false, ...options } = {}) {
    const track = new LocalAudioTrack(await tone(hz), undefined, true);
    if (muted) await switchOff(track);
    await of(name).room.localParticipant.publishTrack(track, { source: Track.Source.Microphone, ...options });
  },

  /** Publishes recordings, one after the other, as microphone. */
  async speakRecording(name, urls, options = {}) {
    await of(name).room.localParticipant.publishTrack(await recording(urls), { source: Track.Source.Microphone, ...options });
  },

  /** Publishes a moving picture on a ground of one colour; small, because encoders share the CPU with the server. */
  async show(name, colour, { muted = false, scale, fps, scalabilityMode, ...options } = {}) {
    const track = new LocalVideoTrack(picture(colour, { scale, fps }), undefined, true);
    if (muted) await switchOff(track);
    await of(name).room.localParticipant.publishTrack(track, { source: Track.Source.Camera, videoCodec: 'vp8', ...options });
    if (scalabilityMode) await layer(track.sender, scalabilityMode);
  },

  /** Switches on, with this tone or colour, and unmutes what was published muted. */
  async switchOn(name, what, own) {
    const { track } = local(name, what);
    await track.replaceTrack(what === 'audio' ? await tone(own) : picture(own), true);
    await track.unmute();
  },

  /** What is seen or heard of one track at this moment; nothing where nothing plays. */
  sense: (name, identity, what) => sense(name, remote(name, identity, what)),

  /** How many pictures of one track were shown since it came. */
  shown: (name, identity, what) => of(name).perceived.get(remote(name, identity, what)?.trackSid)?.sense.shown(),

  /** What is heard of everybody's microphone at this moment. */
  hearAll: (name) => Object.fromEntries(
    [...of(name).room.remoteParticipants.keys()].map((identity) => [identity, sense(name, remote(name, identity, 'audio'))])),

  /** Receiver statistics of one remote track; zeros as long as it isn't there. */
  stats: (name, identity, what) => inbound(remote(name, identity, what)?.track),

  /** Packets sent so far of each layer of a video. */
  async sent(name, what) {
    const report = await local(name, what).track.sender.getStats();
    const layers = [...report.values()].filter((entry) => entry.type === 'outbound-rtp');
    return Object.fromEntries(layers.map((entry) => [entry.rid ?? '', entry.packetsSent]));
  },

  /** What is known of one remote track. */
  publication(name, identity, what) {
    const publication = remote(name, identity, what);
    return publication && {
      sid: publication.trackSid,
      subscribed: publication.isSubscribed,
      muted: publication.isMuted,
      mimeType: publication.mimeType,
      hasTrack: Boolean(publication.track),
    };
  },

  subscribe: (name, identity, what, wanted) => remote(name, identity, what).setSubscribed(wanted),
  wish(name, identity, what, { fps, quality }) {
    if (fps !== undefined) remote(name, identity, what).setVideoFPS(fps);
    if (quality !== undefined) remote(name, identity, what).setVideoQuality(VideoQuality[quality]);
  },
  mute: (name, what, muted) => (muted ? local(name, what).mute() : local(name, what).unmute()),
  unpublish: (name, what) => of(name).room.localParticipant.unpublishTrack(local(name, what).track).then(() => true),
  permit: (name, everybody, permissions) =>
    of(name).room.localParticipant.setTrackSubscriptionPermissions(everybody, permissions),
  say: (name, text, topic, reliable = true, destinationIdentities = undefined) => of(name).room.localParticipant.publishData(
    new TextEncoder().encode(text), { reliable, topic, destinationIdentities }),
  /** Sends these bytes as they are on the reliable channel. */
  sayBytes: (name, bytes) => of(name).room.engine.sendDataPacket({ toBinary: () => new Uint8Array(bytes) }, RELIABLE),
  /** The data packets that arrived, as they were on the wire. */
  packets: (name) => of(name).packets,
  sid: (name) => of(name).room.localParticipant.sid,
  trackSid: (name, what) => local(name, what).trackSid,
  state: (name) => of(name).room.state,
  participants: (name) => [...of(name).room.remoteParticipants.keys()],
  /** The room as it is known here. */
  room: (name) => ({ name: of(name).room.name, metadata: of(name).room.metadata }),
  /** What somebody else shows of themselves. */
  profile(name, identity) {
    const who = of(name).room.remoteParticipants.get(identity);
    return who && { name: who.name, metadata: who.metadata, attributes: who.attributes };
  },
  /** What this one may do. */
  permissions: (name) => of(name).room.localParticipant.permissions?.toJson(),
  /** Answers a method with what was handed over, turned round. */
  answer: (name, method) => of(name).room.registerRpcMethod(method, async ({ payload }) => [...payload].reverse().join('')),
  events: (name) => of(name)?.events ?? [],
  leave: (name) => of(name).room.disconnect(),
  simulate: (name, scenario) => of(name).room.simulateScenario(scenario),

  /** One part of the SDK's own connection check. */
  async check(url, token, part) {
    const info = await new ConnectionCheck(url, token)[part]();
    return {
      name: info.name,
      status: CheckStatus[info.status],
      logs: info.logs.map((line) => `${line.level}: ${line.message}`),
    };
  },
};
